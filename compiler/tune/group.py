"""Groups: the ops around a fusion site as a module of their own, to measure the site's variants where they act.

A group is the site's op, the `sparsity` ops that make what it reads and that read what it makes, up to two away, and
every op that lies between any of these. What comes from outside is an argument, what is read outside is a result;
weights and constants come along.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.compiler.records.tuned import site_op
from secateur.dialects.entry_points import MAIN
from secateur.dialects.number_formats import F32, NumberFormat
from secateur.dialects.sparsity.attributes import TARGET
from secateur.dialects.weight_store import WeightStore
from secateur.passes.base import PassContext, walk
from secateur.passes.scheduled import schedule_records
from secateur.passes.structural.fusion import Site, fusion_sites, simplify

from .task import write_case

if TYPE_CHECKING:
    from torch_mlir import ir

_CONSTANTS = ("sparsity.weight", "arith.constant", "tensor.empty")
# Ops to either side of the site's op that belong to its group.
_REACH = 2


@dataclasses.dataclass(frozen=True)
class Group:
    """A fusion site with a choice.

    `name` of the first site of its kind in the model, `count` of them; `signature` as plans have it, `key` as records
    have it; `variants`, of which `default` is taken without tuning; `text` of the module with its `weights`, and the
    shape of each of its `inputs`; `numbers`, the format of its layers.
    """

    name: str
    count: int
    signature: str
    key: str
    target: str
    variants: tuple[str, ...]
    default: str
    text: str
    weights: dict[str, np.ndarray]
    inputs: tuple[tuple[int, ...], ...]
    numbers: NumberFormat = F32

    @property
    def op(self) -> dict[str, str]:
        """What records of the group are about."""
        return site_op(self.signature, self.numbers)

    def write(self, folder: Path) -> Path:
        """Writes the group into `folder`; see `write_case`."""
        from torch_mlir import ir

        from secateur.compiler.pipeline.context import make_context
        from secateur.compiler.semantics.evaluation import evaluate

        def results(store: WeightStore, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            found = evaluate(ir.Module.parse(self.text, make_context()), list(inputs.values()), store)
            return {f"result{n}": array for n, array in enumerate(found)}

        shapes = {f"input{n}": shape for n, shape in enumerate(self.inputs)}
        # The reference has the weights as they are: fusion may change them before they are rounded.
        accepted = None if self.numbers.is_f32 else self.numbers.arithmetic.accepted or self.numbers.storage.coarse
        return write_case(folder, self.text, self.weights, shapes, results, accepted)


def groups_of(module: "ir.Module", weights: WeightStore, numbers: NumberFormat = F32) -> list[Group]:
    """The groups of a structural module that is not fused yet: one per signature that has a choice. `numbers`: the
    format of their layers.

    The module is simplified as `sparsity-fuse` would. Sites whose group takes or gives anything but f32 tensors of
    known sizes are left out: random numbers would mean nothing to them.
    """
    context = PassContext(weights)
    with module.context:
        simplify(module, context)
        found: dict[str, Group] = {}
        target, tools = schedule_records.target_text(module), schedule_records.code_generator()
        for site in fusion_sites(module, context):
            if len(site.variants) < 2:
                continue
            if site.signature in found:
                known = found[site.signature]
                found[site.signature] = dataclasses.replace(known, count=known.count + 1)
                continue
            outlined = outline(module, site)
            if outlined is None:
                continue
            text, used, inputs = outlined
            if not _has_site(text, site.signature, weights):
                # What tells the site apart lies outside of the group, where a plan would not find it.
                continue
            found[site.signature] = Group(
                name=site.id,
                count=1,
                signature=site.signature,
                key=schedule_records.record_key(site_op(site.signature, numbers), target, tools),
                target=target,
                variants=site.variants,
                default=site.default,
                text=text,
                weights={symbol: weights[symbol] for symbol in used},
                inputs=inputs,
                numbers=numbers,
            )
    return list(found.values())


def outline(module: "ir.Module", site: Site) -> tuple[str, set[str], tuple[tuple[int, ...], ...]] | None:
    """The text of the group of `site`, the weights that it names, the shapes of its inputs; None where it has none."""
    from torch_mlir import ir
    from torch_mlir.dialects import func

    inside = _members(site.op.operation)
    made = {result: op for op in inside for result in op.results}
    outside = _unique(v for op in inside for v in op.operands if v not in made and not _constant(v))
    results = [v for v in made if any(use.owner.operation not in inside for use in v.uses)]
    if not results or not all(_plain(v) for v in [*outside, *results]):
        return None
    alone = ir.Module.create(ir.Location.unknown(module.context))
    if TARGET in module.operation.attributes:
        alone.operation.attributes[TARGET] = module.operation.attributes[TARGET]
    with ir.Location.unknown(), ir.InsertionPoint(alone.body):
        main = func.FuncOp(MAIN, ([v.type for v in outside], [v.type for v in results]))
        body = main.add_entry_block()
        copies = dict(zip(outside, body.arguments, strict=True))
        with ir.InsertionPoint(body):
            for op in inside:
                for value in op.operands:
                    if value not in copies:
                        copies[value] = value.owner.clone().results[0]
                copy = op.clone()
                for position, value in enumerate(op.operands):
                    copy.operands[position] = copies[value]
                copies.update(zip(op.results, copy.results, strict=True))
            func.ReturnOp([copies[v] for v in results])
    used = {w.source.value for w in walk(alone, "sparsity.weight") if isinstance(w.source, ir.StringAttr)}
    return str(alone), used, tuple(tuple(v.type.shape) for v in outside)


def _has_site(text: str, signature: str, weights: WeightStore) -> bool:
    from torch_mlir import ir

    from secateur.compiler.pipeline.context import make_context

    module, context = ir.Module.parse(text, make_context()), PassContext(WeightStore())
    context.weights.update(weights)
    with module.context:
        simplify(module, context)
        return signature in {site.signature for site in fusion_sites(module, context)}


def _members(op: "ir.Operation") -> "list[ir.Operation]":
    """The ops of the group around `op`, in program order."""
    ops = [o.operation for o in op.block.operations if o.operation.name not in (*_CONSTANTS, "func.return")]
    sources = {o: {v.owner for v in o.operands} & set(ops) for o in ops}
    readers: dict[Any, set[Any]] = {o: set() for o in ops}
    for o in ops:
        for source in sources[o]:
            readers[source].add(o)
    chosen = {op}
    for edges in (sources, readers):
        reached = {op}
        for _ in range(_REACH):
            reached = {other for o in reached for other in edges[o] if other.name.startswith("sparsity.")}
            chosen |= reached
    # What depends on one member and is needed by another is a member too; one sweep each way finds all of it.
    after: set[Any] = set()
    for o in ops:
        if sources[o] & (chosen | after):
            after.add(o)
    before: set[Any] = set()
    for o in reversed(ops):
        if readers[o] & (chosen | before):
            before.add(o)
    return [o for o in ops if o in chosen or (o in after and o in before)]


def _constant(value: "ir.Value") -> bool:
    from torch_mlir import ir

    return not isinstance(value.owner, ir.Block) and value.owner.name in _CONSTANTS


def _plain(value: "ir.Value") -> bool:
    from torch_mlir import ir

    kind = value.type
    return isinstance(kind, ir.RankedTensorType) and kind.has_static_shape and str(kind.element_type) == "f32"


def _unique(values: "Iterator[ir.Value]") -> "list[ir.Value]":
    return list(dict.fromkeys(values))
