"""Who reads a value, what made it, and rebuilding a layer with other operands."""

import numpy as np
from torch_mlir import ir

from secateur.dialects import schemes
from secateur.dialects.sparsity.attributes import ENCODING, EncodingAttribute
from secateur.dialects.sparsity.ops.conv import ConvOp
from secateur.dialects.sparsity.ops.linear import LinearOp
from secateur.dialects.sparsity.ops.weight import WeightOp, encoding_of, make_weight, symbol_of, weight_behind
from secateur.dialects.sparsity.rules import activation_of
from secateur.dialects.weight_store import WeightStore
from secateur.passes.base import PassContext


def readers(value: ir.Value) -> list[ir.OpView]:
    """The ops that read `value`, once for each operand that it is."""
    return [use.owner for use in value.uses]


def defined_by(value: ir.Value, name: str) -> ir.OpView | None:
    """The op `name` that makes `value`, or None."""
    owner = value.owner
    if isinstance(owner, ir.Block) or owner.name != name:
        return None
    return owner.opview


def count_readers(value: ir.Value) -> str:
    """`the result has 2 readers`, for a sentence that says why a producer stays."""
    return f"the result has {len(readers(value))} readers"


def linear_behind(value: ir.Value) -> ir.OpView | None:
    """The linear layer that makes `value` for one reader only, or None."""
    linear = defined_by(value, "sparsity.linear")
    return linear if linear is not None and len(readers(value)) == 1 else None


def layer_of(value: ir.Value) -> ir.OpView | None:
    """The linear layer or convolution that makes `value`, or None."""
    return defined_by(value, LinearOp.OPERATION_NAME) or defined_by(value, ConvOp.OPERATION_NAME)


def is_plain(layer: ir.OpView) -> bool:
    """Whether a linear layer or convolution has nothing behind its sums and bias."""
    return activation_of(layer) == "none" and layer.residual is None


def joined_location(*ops: ir.OpView) -> ir.Location:
    """The places of all `ops`, so that a report finds the modules of the model that a fused op stands for."""
    return ir.Location.fused([op.location for op in ops], context=ops[0].context)


def rebuild_layer(layer: ir.OpView, at: ir.OpView, **changed: object) -> ir.OpView:
    """A linear layer or convolution again, just before `at`, for which it stands too, with another epilogue."""
    with joined_location(layer, at), ir.InsertionPoint(at):
        return layer.rebuild(**changed)


def rebuild_linear(linear: ir.OpView, at: ir.OpView, *others: ir.OpView, **changed: ir.Value | None) -> ir.OpView:
    """`linear` again, just before `at`, with other operands; the old one is left for the caller to erase.

    The new one stands for `linear`, for `at`, and for the `others`.
    """
    result = LinearOp.result_type(changed.get("x", linear.x), changed.get("weight", linear.weight))
    with joined_location(linear, at, *others), ir.InsertionPoint(at):
        return linear.rebuild(result, **changed)


def replace(op: ir.OpView, value: ir.Value, *dead: ir.OpView) -> None:
    """Gives `op`'s readers `value` instead, and erases `op` and then the `dead`, which nothing else reads."""
    op.operation.results[0].replace_all_uses_with(value)
    for gone in (op, *dead):
        gone.operation.erase()


def known_array(value: ir.Value, weights: WeightStore) -> np.ndarray | None:
    """The array of the weight op that makes `value`; None where it is none, or its symbol is not in the store."""
    weight = weight_behind(value)
    if weight is None:
        return None
    symbol = symbol_of(weight)
    if symbol is not None and symbol not in weights:
        return None
    return PassContext(weights).array(weight)


def label(op: ir.OpView) -> str:
    """How a person knows an op: the name of its weight, as in the checkpoint; its op name where it has none."""
    for field in ("weight", "table"):
        value = getattr(op, field, None)
        weight = weight_behind(value) if value is not None else None
        if weight is not None and symbol_of(weight):
            return str(symbol_of(weight)).partition("*")[0].removesuffix(".weight")
    return op.operation.name.removeprefix("sparsity.")


def tensor_bytes(value: ir.Value) -> int:
    """Bytes of a tensor of static shape; a dynamic size counts as one."""
    kind = value.type
    sizes = [1 if kind.is_dynamic_dim(i) else kind.shape[i] for i in range(kind.rank)]
    return int(np.prod(sizes, dtype=np.int64)) * max(1, kind.element_type.width // 8)


def derived_weight(
    array: np.ndarray, hint: str, like: WeightOp, at: ir.OpView, context: PassContext, encoding: ir.Attribute | None
) -> ir.Value:
    """A weight of `array` (rounded to f32) just before `at`, with `encoding`."""
    with at.location, ir.InsertionPoint(at):
        made = make_weight(np.asarray(array, np.float32), hint, context.weights, like)
    if encoding is not None:
        made.attributes[ENCODING] = encoding
    return made.result


def fits_f32(*arrays: np.ndarray) -> bool:
    """Whether f32 holds every number with its full precision: a folded constant must neither overflow nor underflow."""
    limits = np.finfo(np.float32)
    return all(bool(((a == 0) | ((abs(a) >= limits.tiny) & (abs(a) <= limits.max))).all()) for a in arrays)


def described(encoding: ir.Attribute | None, mask: np.ndarray) -> schemes.Encoding:
    """The description behind an encoding attribute; without one, that of CSR, which keeps what `mask` keeps."""
    if encoding is None:
        return schemes.Unstructured()
    return encoding.encoding()


def kept_weights(weight: WeightOp, array: np.ndarray) -> int:
    """Weights that the kernel multiplies with: those that the encoding keeps, padding too."""
    mask = schemes.nonzeros(array)
    return int(np.count_nonzero(described(encoding_of(weight), mask).kept(mask)))


def detected(array: np.ndarray) -> tuple[ir.Attribute, int]:
    """The cheapest encoding of a new weight, as an attribute in the current context, and the weights that it keeps."""
    mask = schemes.nonzeros(np.asarray(array, np.float32))
    found = schemes.detect(mask)
    return EncodingAttribute.of_encoding(found), int(np.count_nonzero(found.kept(mask)))
