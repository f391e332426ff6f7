"""Notes on every layer and table in which format its numbers are stored and multiplied.

before:
    %y = "sparsity.linear"(%x, %w, %b) {...}
after, with weights=int8:
    %y = "sparsity.linear"(%x, %w, %b)
         {..., sparsity.numbers = #sparsity.numbers<{weights = "int8", arithmetic = "f32"}>}

The format stands on the op before its schedule is chosen, since a schedule and the record of one are for a format;
`sparsity-quantize` carries it out once the weights are packed. A format that an op has stays, so another pass, or a
person, may choose it layer by layer; so does `layers`, a file with formats by the names of modules. Tables have no
arithmetic: they get that of f32. So do, on GPUs, layers of 16 tokens or fewer (a pooler) that would multiply bytes:
their time is that of reading the weights, and on CPUs, where they get no panels, they stay in f32 too. Attention has no
weights; it gets the format where that multiplies bytes. Ops that are stored in another format already are left alone.
Statistics: the ops by format, and layers of few tokens that stay in f32.

Preconditions: the names are those of formats (`dialects/number_formats`), and go together. Rationale: a misspelt format
would leave the model in f32 without a word. Modules that were merged into one op, as query, key and value, have one
format. Rationale: their rows are stored in one array.
"""

import dataclasses
import math
from pathlib import Path

from torch_mlir import ir

from secateur.dialects.locations import module_paths
from secateur.dialects.number_formats import NumberFormat, NumberFormatError, layer_formats, number_format
from secateur.dialects.sparsity.attributes import NUMBERS, Numbers
from secateur.dialects.sparsity.ops import OPS

from ..base import Pass, PassContext, PassFailure, walk
from ..target import target_of
from .schedule_space import FEW_TOKENS

_OPS = tuple(name for name, op in OPS.items() if op.STORED)


@dataclasses.dataclass(frozen=True)
class SparsityNumberFormat(Pass):
    """Notes on layers and tables in which format their numbers are stored and multiplied.

    Options: `weights`: what they are stored as; `arithmetic`: what layers of many tokens multiply and sum in.
    `half-sums`: with arithmetic in f16, how many products are summed in f16; 0: the format's own number. `layers`: a
    JSON file with the names of modules that have another format, such as {"encoder.layer.0.output": "int8 x int8"}.
    """

    weights: str = "f32"
    arithmetic: str = "f32"
    half_sums: int = 0
    layers: str = ""

    name = "sparsity-number-format"

    def run(self, module: ir.Module, context: PassContext) -> None:
        try:
            chosen = number_format(self.weights, self.arithmetic)
            named = dict(layer_formats(Path(self.layers))) if self.layers else {}
        except NumberFormatError as error:
            raise PassFailure(module.operation, str(error)) from None
        if self.half_sums < 0 or (self.half_sums and not chosen.arithmetic.half_sums):
            text = f"expected 'half-sums' to be 0, or positive beside arithmetic in f16, found {self.half_sums}"
            raise PassFailure(module.operation, text)
        on_gpu = bool(target_of(module).threads)
        for op in walk(module, *_OPS):
            found = _format(op, named, chosen)
            element = str(getattr(op, op.STORED[0]).type.element_type)
            if NUMBERS in op.operation.attributes or element != "f32" or found.is_f32:
                continue
            is_table = op.operation.name == "sparsity.embedding"
            wide = on_gpu and found.arithmetic.rounds_activations and not is_table and _has_few_tokens(op)
            self._note(op, found.storage.name, "f32" if is_table or wide else found.arithmetic.name)
            if wide:
                context.count("layers-of-few-tokens-in-f32")
            context.count(f"{'tables' if is_table else 'layers'}-in-{found.storage.name}")
        for op in walk(module, "sparsity.attention"):
            found = _format(op, named, chosen)
            if NUMBERS not in op.operation.attributes and found.arithmetic.rounds_activations:
                self._note(op, found.storage.name, found.arithmetic.name)
                context.count(f"attentions-in-{found.arithmetic.name}")

    def _note(self, op: ir.OpView, weights: str, arithmetic: str) -> None:
        sums = {"half_sums": self.half_sums} if self.half_sums and arithmetic == self.arithmetic else {}
        with op.operation.context:
            op.operation.attributes[NUMBERS] = Numbers.of(weights=weights, arithmetic=arithmetic, **sums)


def _has_few_tokens(op: ir.OpView) -> bool:
    """Whether all sequences of a layer have `FEW_TOKENS` tokens together, at most."""
    shape = op.x.type.shape
    return op.x.type.has_static_shape and math.prod(shape[:-1]) <= FEW_TOKENS


def _format(op: ir.OpView, named: dict[str, NumberFormat], otherwise: NumberFormat) -> NumberFormat:
    """The format of an op: that of the modules that it is. Raises `PassFailure` where these have different ones."""
    paths = [path for path in module_paths(op.location) if path in named]
    found = dict.fromkeys(named[path] for path in paths)
    if len(found) > 1:
        text = f"'{paths[0]}' is one layer with {', '.join(paths[1:])}, and they are to have one format"
        raise PassFailure(op.operation, f"{text}, found {' and '.join(map(str, found))}")
    return next(iter(found), otherwise)
