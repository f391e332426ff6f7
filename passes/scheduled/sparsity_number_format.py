"""Notes on every layer and table in which format its numbers are stored and multiplied.

before:
    %y = "sparsity.linear"(%x, %w, %b) {...}
after, with weights=int8:
    %y = "sparsity.linear"(%x, %w, %b)
         {..., sparsity.numbers = #sparsity.numbers<{weights = "int8", arithmetic = "f32"}>}

The format stands on the op before its schedule is chosen, since a schedule and the record of one are for a format;
`sparsity-quantize` carries it out once the weights are packed. A format that an op has stays, so another pass, or a
person, may choose it layer by layer. Tables have no arithmetic: they get that of f32. Attention has no weights; it gets
the format where that multiplies bytes. Ops that are stored in another
format already are left alone. Statistics: the ops by format.

Preconditions: the names are those of formats (`dialects/number_formats`), and go together. Rationale: a misspelt format
would leave the model in f32 without a word.
"""

import dataclasses

from torch_mlir import ir

from secateur.dialects.number_formats import NumberFormatError, number_format
from secateur.dialects.sparsity.attributes import NUMBERS, Numbers
from secateur.dialects.sparsity.ops import OPS

from ..base import Pass, PassContext, PassFailure, walk

# The operand of an op that is stored.

_OPS = tuple(name for name, op in OPS.items() if op.STORED)


@dataclasses.dataclass(frozen=True)
class SparsityNumberFormat(Pass):
    """Notes on layers and tables in which format their numbers are stored and multiplied.

    Options: `weights`: what they are stored as; `arithmetic`: what layers of many tokens multiply and sum in.
    `half-sums`: with arithmetic in f16, how many products are summed in f16; 0: the format's own number.
    """

    weights: str = "f32"
    arithmetic: str = "f32"
    half_sums: int = 0

    name = "sparsity-number-format"

    def run(self, module: ir.Module, context: PassContext) -> None:
        try:
            chosen = number_format(self.weights, self.arithmetic)
        except NumberFormatError as error:
            raise PassFailure(module.operation, str(error)) from None
        if self.half_sums < 0 or (self.half_sums and not chosen.arithmetic.half_sums):
            text = f"expected 'half-sums' to be 0, or positive beside arithmetic in f16, found {self.half_sums}"
            raise PassFailure(module.operation, text)
        if chosen.is_f32:
            return
        sums = {"half_sums": self.half_sums} if self.half_sums else {}
        with module.context:
            layer = Numbers.of(weights=self.weights, arithmetic=self.arithmetic, **sums)
            table = Numbers.of(weights=self.weights, arithmetic="f32")
        for op in walk(module, *_OPS):
            element = str(getattr(op, op.STORED[0]).type.element_type)
            if NUMBERS in op.operation.attributes or element != "f32":
                continue
            is_table = op.operation.name == "sparsity.embedding"
            op.operation.attributes[NUMBERS] = table if is_table else layer
            context.count(f"{'tables' if is_table else 'layers'}-in-{self.weights}")
        if not chosen.arithmetic.rounds_activations:
            return
        for op in walk(module, "sparsity.attention"):
            if NUMBERS not in op.operation.attributes:
                op.operation.attributes[NUMBERS] = layer
                context.count(f"attentions-in-{self.arithmetic}")
