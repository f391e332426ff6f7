"""A layer shape with made-up weights of wanted sparsities, as one case that tuning's workers compile and time.

    main(%x) { %y0 = linear(%x, dense w0); %y1 = linear(%x, w1 at 50 %); ...; %yn = linear(%x, dense wn); return ... }

All variants stand in one module, a dense one first and last. Rationale: they take turns in every call, so that a slow
moment of the machine meets all of them; and between two calls of one the others run, as in a model, and push its
weights out of the nearest cache, where a layer that is called over and over would find them.

Weights are normally distributed and pruned by magnitude: latency depends on where zeros may lie, and hardly on what the
weights are. Zeros of trained weights cluster more than these; what that does to a whole model, `calibrate` sees.
Source: GRIM (Niu et al. 2021), whose search for a block size synthesises a layer for each candidate.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from secateur.compiler.tune.task import write_case
from secateur.compression.prune.projections import project
from secateur.compression.prune.scheme import Scheme
from secateur.dialects.weight_store import WeightStore

from .shapes import LayerShape

if TYPE_CHECKING:
    from torch_mlir import ir

_WEIGHT = "weight"


@dataclasses.dataclass(frozen=True)
class Variant:
    """What a shape is measured as: a scheme with its block and a sparsity (0..1); without a scheme, dense."""

    scheme: Scheme | None = None
    sparsity: float = 0.0


def synthetic_weight(shape: LayerShape, variant: Variant, seed: int) -> np.ndarray:
    """A weight [rows, columns] of the shape; each PyTorch layer in it is pruned by itself, as `prune_model` does.

    Raises `PruneError` where the block does not fit or the scheme cannot reach the sparsity.
    """
    parts = []
    for number, rows in enumerate(shape.parts):
        random = np.random.default_rng([seed, number])
        weight = random.standard_normal((rows, shape.columns), dtype=np.float32)
        if variant.scheme is not None:
            weight *= project(weight, variant.scheme, variant.sparsity)
        parts.append(weight)
    return np.concatenate(parts)


def write_layers(folder: Path, shape: LayerShape, variants: Sequence[Variant], seed: int) -> Path:
    """Writes the case of `shape` as each of `variants` into `folder`, which is made, and returns it; see `write_case`.

    Raises `PruneError` as `synthetic_weight` does.
    """
    from torch_mlir import ir

    from secateur.compiler.pipeline.context import make_context
    from secateur.compiler.pipeline.passmanager import run_pipeline
    from secateur.compiler.semantics.evaluation import evaluate
    from secateur.dialects.sparsity.attributes import numbers_of
    from secateur.passes.base import PassContext, walk

    weights = {f"{_WEIGHT}{n}": synthetic_weight(shape, v, seed + n) for n, v in enumerate(variants)}
    random = np.random.default_rng(seed)
    with make_context():
        module = ir.Module.parse(shape.text)
        for name, extent in repeat_linear(module, len(variants)).items():
            if name not in weights:
                weights[name] = random.standard_normal(extent).astype(np.float32)
        store = WeightStore()
        store.update(weights)
        # What a layer's zeros look like decides on its schedule.
        run_pipeline(module, "sparsity-detect", PassContext(store))
        text = str(module)
        numbers = numbers_of(walk(module, "sparsity.linear")[0])

    def results(store: WeightStore, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        for name in range(len(variants)):
            weight = weights[f"{_WEIGHT}{name}"]
            store[f"{_WEIGHT}{name}"] = numbers.storage.read_rows(*numbers.storage.store_rows(weight))
        found = evaluate(ir.Module.parse(text, make_context()), list(inputs.values()), store)
        return {f"y{n}": array for n, array in enumerate(found)}

    return write_case(folder, text, weights, shape.inputs, results, numbers.arithmetic.accepted)


def repeat_linear(module: "ir.Module", times: int) -> dict[str, tuple[int, ...]]:
    """Makes the one linear of a module `times` linears on the same inputs, each with weights of its own.

    Returns the shape of every weight by its new name: that of the operand and the number of the copy. Encodings are
    dropped: the weights will have other zeros.
    """
    from torch_mlir import ir
    from torch_mlir.dialects import func

    from secateur.dialects.sparsity.attributes import ENCODING
    from secateur.passes.base import walk

    (op,), (end,), (main,) = (walk(module, n) for n in ("sparsity.linear", "func.return", "func.func"))
    sources = [w.operation for w in walk(module, "sparsity.weight")]
    names: dict[str, tuple[int, ...]] = {}
    results = []
    with module.context, ir.Location.unknown(), ir.InsertionPoint(end):
        for copy in range(times):
            clones = {}
            for source in sources:
                clone = source.clone()
                name = f"{ir.StringAttr(source.attributes['source']).value}{copy}"
                clone.attributes["source"] = ir.StringAttr.get(name)
                if ENCODING in clone.attributes:
                    del clone.attributes[ENCODING]
                names[name] = tuple(clone.results[0].type.shape)
                clones[source.results[0]] = clone.results[0]
            linear = op.operation.clone()
            for position, value in enumerate(op.operation.operands):
                linear.operands[position] = clones.get(value, value)
            results.append(linear.results[0])
        func.ReturnOp(results)
        for old in (end.operation, op.operation, *sources):
            old.erase()
        types = [a.type for a in main.regions[0].blocks[0].arguments], [v.type for v in results]
        main.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(*types))
    return names
