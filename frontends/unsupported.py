"""Finds what cannot be compiled before compilation starts: every op, with its line of Python."""

import contextlib
import dataclasses
import re
from collections.abc import Iterable, Iterator

from torch_mlir import ir, passmanager

from .coverage import NOT_COVERED

_LOWERING = (
    "builtin.module(torchdynamo-export-to-torch-backend-pipeline,torch-backend-to-linalg-on-tensors-backend-pipeline)"
)
# Ops with a structural form, by the type of their first operand.
_STRUCTURAL = {
    "torch.aten.scaled_dot_product_attention": r"!torch\.vtensor<\[\d+(,\d+){2,3}\],f32>",
    **{f"torch.aten.conv{n}d": rf"!torch\.vtensor<\[\d+(,\d+){{{n + 1}}}\],f32>" for n in (1, 2, 3)},
    "torch.aten.convolution": r"!torch\.vtensor<\[\d+(,\d+){2,4}\],f32>",
}
# Values that a conversion must see as constants; they are copied together with the op that uses them.
_CONSTANT = re.compile(r"torch\.(constant\.|prim\.ListConstruct|vtensor\.literal)")


@dataclasses.dataclass(frozen=True)
class Unsupported:
    """An op that cannot be compiled: `aten.fft_fft`, the Python `file` and `line` it is written at (file "" where
    unknown), the `module` of the model it belongs to, and how often it occurs there."""

    op: str
    file: str
    line: int
    module: str
    count: int = 1

    def __str__(self) -> str:
        place = f" at {self.file}:{self.line}" if self.file else ""
        inside = f" in '{self.module}'" if self.module else ""
        times = f" ({self.count} times)" if self.count > 1 else ""
        reason = _reason(self.op)
        return f"{self.op}{place}{inside}{times}{reason and f': {reason}'}"


def _reason(op: str) -> str:
    name = op.removeprefix("aten.")
    return NOT_COVERED.get(name) or NOT_COVERED.get(f"{name}.default", "")


def describe(found: Iterable[Unsupported], name: str) -> str:
    """The report: one sentence, then a line per op."""
    lines = [f"  {op}" for op in found]
    return f"'{name}' uses {len(lines)} op(s) that cannot be compiled:\n" + "\n".join(lines)


def as_written(refused: Iterable[Unsupported], whole: Iterable[Unsupported]) -> list[Unsupported]:
    """`refused` with the parts of a decomposed op as that op, which is what the model's author wrote.

    `whole` are the ops that were refused before, the first first: those that are not refused now were decomposed.
    """
    refused, whole = list(refused), list(whole)
    written: dict[tuple[str, int, str], Unsupported] = {}
    for op in whole:
        if op.file and op not in refused:
            written.setdefault((op.file, op.line, op.module), op)
    named = (op if op in whole else written.get((op.file, op.line, op.module), op) for op in refused)
    return list(dict.fromkeys(named))


def refused_ops(module: ir.Module | ir.Operation) -> list[Unsupported]:
    """The ops of level 1 that have no structural form and that torch-mlir's way to linalg refuses.

    Each op is lowered by itself, once per signature, so the answer names all of them and not the first.
    """
    verdicts: dict[str, bool] = {}
    failing = []
    with module.context as context, without_messages(context):
        for op in _ops(module):
            if not op.name.startswith("torch.") or _CONSTANT.match(op.name) or _is_structural(op) or _gives_list(op):
                continue
            text = _alone(op)
            if text not in verdicts:
                verdicts[text] = _lowers(text)
            if not verdicts[text]:
                failing.append(op)
    return _collect(failing)


@contextlib.contextmanager
def without_messages(context: ir.Context) -> Iterator[None]:
    """Keeps MLIR from printing what fails: an error holds its diagnostics then."""
    before, context.emit_error_diagnostics = context.emit_error_diagnostics, False
    try:
        yield
    finally:
        context.emit_error_diagnostics = before


def _is_structural(op: ir.Operation) -> bool:
    """Whether an op has a structural form, whatever torch-mlir makes of it.

    Attention on [batch, tokens, depth] or [batch, heads, tokens, depth] has only that, and convolutions of one to three
    dimensions, of which torch-mlir refuses some in three, have it.
    """
    shape = _STRUCTURAL.get(op.name)
    return shape is not None and re.fullmatch(shape, str(op.operands[0].type)) is not None


def _gives_list(op: ir.Operation) -> bool:
    """Whether an op returns a list of tensors: it is tried together with the op that unpacks the list."""
    return len(op.results) == 1 and str(op.results[0].type) == "!torch.list<vtensor>"


def _ops(module: ir.Module | ir.Operation) -> list[ir.Operation]:
    found: list[ir.Operation] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        found.append(op)
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit, ir.WalkOrder.PRE_ORDER)
    return found


def _alone(op: ir.Operation) -> str:
    """A module with this op alone: tensor operands are arguments, constants are copied."""
    arguments: list[str] = []
    lines: list[str] = []
    names: dict[ir.Value, str] = {}

    def name_of(value: ir.Value) -> str:
        if value not in names:
            owner = None if isinstance(value.owner, ir.Block) else value.owner.operation
            if owner is None or not (_CONSTANT.match(owner.name) or _gives_list(owner)):
                names[value] = f"%a{len(arguments)}"
                arguments.append(f"{names[value]}: {value.type}")
            else:
                emit(owner)
        return names[value]

    def emit(inner: ir.Operation) -> None:
        operands = [name_of(operand) for operand in inner.operands]
        results = [f"%r{len(names) + index}" for index in range(len(inner.results))]
        names.update(zip(inner.results, results, strict=True))
        attributes = str(ir.DictAttr.get({key: inner.attributes[key] for key in inner.attributes}))
        types = ", ".join(str(operand.type) for operand in inner.operands)
        made = ", ".join(str(result.type) for result in inner.results)
        left = f"{', '.join(results)} = " if results else ""
        lines.append(f'{left}"{inner.name}"({", ".join(operands)}) {attributes} : ({types}) -> ({made})')

    emit(op)
    returned = [result for result in op.results if str(result.type).startswith("!torch.vtensor")]
    types = ", ".join(str(result.type) for result in returned)
    values = ", ".join(names[result] for result in returned)
    lines.append(f"return {values} : {types}" if returned else "return")
    body = "\n".join(lines)
    return f"func.func @op({', '.join(arguments)}) -> ({types}) {{\n{body}\n}}"


def _lowers(text: str) -> bool:
    # Torch-mlir ends the process at some complex constants.
    if "complex<" in text:
        return False
    try:
        module = ir.Module.parse(text)
        passmanager.PassManager.parse(_LOWERING).run(module.operation)
    except ir.MLIRError:
        return False
    # Torch-mlir lowers some ops to a dialect that only its own test backend runs, and random ones to a global seed.
    return all(not op.name.startswith(("torch.", "tm_tensor.", "ml_program.")) for op in _ops(module))


def _collect(ops: Iterable[ir.Operation]) -> list[Unsupported]:
    counts: dict[tuple[str, str, int, str], int] = {}
    for op in ops:
        if op.name == "torch.prim.ListUnpack":
            op = op.operands[0].owner.operation
        name = op.attributes["name"].value if op.name == "torch.operator" else op.name
        key = (name.removeprefix("torch."), *_place(op.location))
        counts[key] = counts.get(key, 0) + 1
    return [Unsupported(*key, count) for key, count in counts.items()]


def _place(location: ir.Location) -> tuple[str, int, str]:
    """File, line and module path of a location as the importer makes them."""
    module = ""
    for _ in range(8):
        if isinstance(location, ir.NameLoc):
            module = module or location.name_str
            location = location.child_loc
        elif isinstance(location, ir.FusedLoc):
            location = location.locations[0]
        elif isinstance(location, ir.CallSiteLoc):
            location = location.callee
        else:
            break
    if isinstance(location, ir.FileLineColLoc):
        return location.filename, location.start_line, module
    return "", 0, module
