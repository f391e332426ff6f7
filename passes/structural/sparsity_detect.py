"""Finds how the zeros of each layer's weight lie, from the zeros alone."""

import dataclasses

import numpy as np
from torch_mlir import ir

from secateur.dialects import schemes
from secateur.dialects.sparsity.attributes import ENCODING, EncodingAttribute
from secateur.dialects.sparsity.ops.conv import ConvOp
from secateur.dialects.sparsity.ops.linear import LinearOp
from secateur.dialects.sparsity.ops.weight import WeightOp

from ..base import Pass, PassContext, PassFailure, walk


def weights_of_layers(module: ir.Module) -> list[WeightOp]:
    """The weight ops that are the weight of a linear layer or a convolution, each once, in program order."""
    users = [op.weight.owner for op in walk(module, LinearOp.OPERATION_NAME, ConvOp.OPERATION_NAME)]
    known = {user for user in users if isinstance(user, ir.Operation | ir.OpView)}
    return [op for op in walk(module, WeightOp.OPERATION_NAME) if op.operation in known or op in known]


def verify_encoding(op: WeightOp, mask: np.ndarray) -> schemes.Encoding:
    """The op's own description. Raises `PassFailure` where it would drop a weight of `mask` that is not zero."""
    encoding: schemes.Encoding = op.attributes[ENCODING].encoding()
    try:
        encoding.kept(mask)
    except schemes.IllegalEncodingError as error:
        raise PassFailure(op, f"has an encoding that its zeros do not fit: {error}") from None
    return encoding


@dataclasses.dataclass(frozen=True)
class SparsityDetect(Pass):
    """Attaches the encoding with the fewest packed bytes to the weight of each linear layer and convolution.

    ```mlir
    %w = "sparsity.weight"() {source = "query"} : () -> tensor<768x768xf32>
    %y = "sparsity.linear"(%x, %w) ...
    // becomes
    %w = "sparsity.weight"() {source = "query", sparsity.encoding = #sparsity.bcr<{block_columns = 1 : i64,
         block_rows = 16 : i64}>} : () -> tensor<768x768xf32>
    ```
    Looks at weights that a `sparsity.linear` or a `sparsity.conv` uses as its weight; those of embeddings and biases
    stay as they are. What is compared, what a byte is and how ties are broken: `secateur.dialects.schemes`.

    Preconditions: the weight's array can be read. Rationale: an encoding is a promise about values.
    An encoding that is there stays, if each weight that is not zero is among those that it keeps; otherwise the
    pass fails. Rationale: later passes drop what the encoding does not keep, which would change the result.

    Options: `force` replaces the encodings that are there.
    Statistics: `weights-encoded` and `weights-<scheme>` (attached here), `weights-verified` (were there); of all of
    them `zeros` (weights that are zero), `packed-bytes` and `dense-bytes`.
    """

    name = "sparsity-detect"
    force: bool = False

    def run(self, module: ir.Module, context: PassContext) -> None:
        for op in weights_of_layers(module):
            mask = schemes.nonzeros(context.array(op))
            if ENCODING in op.attributes and not self.force:
                encoding = verify_encoding(op, mask)
                context.count("weights-verified")
            else:
                encoding = schemes.detect(mask)
                with module.context:
                    op.attributes[ENCODING] = EncodingAttribute.of_encoding(encoding)
                context.count("weights-encoded")
                context.count(f"weights-{encoding.scheme}")
            context.count("zeros", mask.size - int(np.count_nonzero(mask)))
            context.count("packed-bytes", encoding.packed_bytes(mask))
            context.count("dense-bytes", schemes.Dense().packed_bytes(mask))
