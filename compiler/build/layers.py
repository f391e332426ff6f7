"""The layers of a structural module, as the report lists them."""

from typing import TYPE_CHECKING

import numpy as np

from secateur.dialects.sparsity.attributes import ENCODING
from secateur.dialects.sparsity.ops.weight import array_of, symbol_of
from secateur.dialects.weight_store import WeightStore
from secateur.passes.base import functions, walk

from .report import LayerReport

if TYPE_CHECKING:
    from torch_mlir import ir


def layers_of(module: "ir.Module", weights: WeightStore) -> list[LayerReport]:
    """A record per linear layer or convolution whose weight is constant, in program order; of several functions, those
    of one.

    A layer is named by its weight's symbol without the final `.weight`, and without what was folded into it. The
    columns of a convolution are its channels and kernel positions.
    """
    found: list[LayerReport] = []
    one = next(functions(module), module)
    for op in walk(one, "sparsity.linear", "sparsity.conv"):
        weight = op.weight.owner
        if weight.name != "sparsity.weight":
            continue
        weight = weight.opview
        array = array_of(weight, weights)
        rows, columns = len(array), int(np.prod(array.shape[1:]))
        zeros = array.size - int(np.count_nonzero(array))
        encoding = weight.attributes.get(ENCODING)
        name = (symbol_of(weight) or f"layer_{len(found)}").partition("*")[0].removesuffix(".weight")
        fraction = zeros / array.size if array.size else 0.0
        found.append(LayerReport(name, rows, columns, _text(encoding), fraction))
    return found


def _text(encoding: "ir.Attribute | None") -> str:
    """`bcr 4x16` for `#sparsity.bcr<{...}>`; `dense` where there is none."""
    if encoding is None:
        return "dense"
    return str(encoding.encoding())
