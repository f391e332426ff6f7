"""What the NumPy references of ops share: element types, panels, activations, the epilogue of linears."""

import math

import numpy as np
from torch_mlir import ir

from .rules import activation_of, layout_of

Array = np.ndarray
_INTEGERS = {"i1": "bool", "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64", "index": "int64"}
_FLOATS = {"f16": "float16", "f32": "float32", "f64": "float64"}


class EvaluationError(Exception):
    """An op cannot be computed on these operands. The text continues `'sparsity.x' op`."""


def dtype_of(element: ir.Type | str) -> np.dtype:
    """The NumPy type of an element type (or its text), `bf16` by `ml_dtypes`. Raises `EvaluationError` for another."""
    name = str(element)
    name = name[1:] if name[:2] in ("si", "ui") else name
    if name == "bf16":
        try:
            import ml_dtypes
        except ImportError:
            raise EvaluationError("has elements of bf16, for which the package ml_dtypes is missing") from None
        return np.dtype(ml_dtypes.bfloat16)
    known = _INTEGERS | _FLOATS
    if name not in known:
        raise EvaluationError(f"has elements of {element}; accepted: bf16, {', '.join(known)}")
    return np.dtype("u" + known[name]) if str(element).startswith("ui") else np.dtype(known[name])


def to_panels(x: Array, panel: int, inner: int = 1) -> Array:
    """`[batch, tokens, features]` to `[batch, panels, features, panel]`, the last panel filled with zeros.

    With `inner` above 1, to `[batch, panels, features / inner, panel, inner]`.
    """
    batch, tokens, features = x.shape
    panels = -(-tokens // panel)
    padded = np.zeros((batch, panels * panel, features), x.dtype)
    padded[:, :tokens] = x
    cut = padded.reshape(batch, panels, panel, features // inner, inner).transpose(0, 1, 3, 2, 4)
    return cut[..., 0] if inner == 1 else cut


def from_panels(x: Array, tokens: int | None = None) -> Array:
    """What `to_panels` made, as `[batch, tokens, features]`; all tokens where no number is given."""
    cut = x[..., None] if x.ndim == 4 else x
    batch, panels, groups, panel, inner = cut.shape
    return cut.transpose(0, 1, 3, 2, 4).reshape(batch, panels * panel, groups * inner)[:, :tokens]


def activate(kind: str, x: Array) -> Array:
    """`kind(x)`, element-wise, in float64. `kind` is one of `rules.ACTIVATIONS`."""
    x = x.astype(np.float64)
    if kind == "none":
        return x
    if kind == "relu":
        return np.maximum(x, 0.0)
    if kind == "gelu":
        # NumPy has no erf; the C library's is exact to the last bit and fast enough through one flat list.
        erf = np.fromiter(map(math.erf, (x / math.sqrt(2.0)).ravel().tolist()), np.float64, x.size)
        return 0.5 * x * (1.0 + erf.reshape(x.shape))
    if kind == "gelu_tanh":
        return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
    if kind == "tanh":
        return np.tanh(x)
    # This form of the logistic function does not overflow on either side.
    logistic = 0.5 * (1.0 + np.tanh(0.5 * x))
    if kind == "sigmoid":
        return logistic
    if kind == "silu":
        return x * logistic
    raise EvaluationError(f"has the unknown activation '{kind}'")


def as_token_major(op: ir.OpView, x: Array) -> Array:
    """`x` without the op's panels."""
    return x if layout_of(op) is None else from_panels(x)


def in_layout(op: ir.OpView, x: Array) -> Array:
    """`x` in the op's panels, where it has any."""
    layout = layout_of(op)
    return x if layout is None else to_panels(x, *layout.tile())


def epilogue(op: ir.OpView, y: Array, bias: Array | None, residual: Array | None) -> Array:
    """`activation(y + bias) + residual`, `y` token-major, in the op's layout."""
    if bias is not None:
        y = y + bias
    y = in_layout(op, activate(activation_of(op), y))
    return y if residual is None else y + residual
