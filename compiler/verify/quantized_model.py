"""The model that f16 or int8 weights stand for, in PyTorch: what the code of a quantised model is compared with.

Quantisation works row by row and on its own, so the rows of the model's parameters can be quantised as the compiler
quantises those of its layers and tables: with the same function, before instead of after fusion and packing.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from secateur.compiler.errors import CompileError, VerificationError
from secateur.dialects.locations import module_paths
from secateur.dialects.number_formats import NumberPlan, QuantizationError, Storage, Tolerance
from secateur.dialects.number_formats.number_plan import loosest
from secateur.dialects.sparsity.ops.weight import array_of, weight_behind
from secateur.dialects.weight_store import WeightStore
from secateur.passes.base import walk
from secateur.passes.structural.fusion.affine import LAYER_NORM_AFFINE
from secateur.passes.structural.fusion.projections import ATTENTION_SCALE

from .comparison import verify
from .reference import Reference

if TYPE_CHECKING:
    import torch
    from torch_mlir import ir

Statistics = Mapping[str, Mapping[str, float]]
"""Pass -> name -> amount."""

# Rewrites after which a layer's rows are no longer those of a parameter: rounded later, they are rounded otherwise.
_CHANGE_ROWS = (
    "constants-folded",
    "table-scales-folded",
    "linears-factored",
    "linears-collapsed",
    LAYER_NORM_AFFINE.statistic,
    ATTENTION_SCALE.statistic,
)


@dataclasses.dataclass(frozen=True)
class QuantizationReport:
    """Weights of layers and tables stored as `weights` (f16, int8, or both): their bytes, and those they take in f32.

    `relative_l2`: how far PyTorch's outputs with the rounded weights are from those with the original ones. `exact`:
    the code was compared with PyTorch on just these weights; else fusion had changed some of them before.
    """

    weights: str
    f32_bytes: int
    stored_bytes: int
    relative_l2: float
    exact: bool


@dataclasses.dataclass(frozen=True)
class StoredRows:
    """The rows of all constant weights of linear layers and of all tables of a structural module that are not stored in
    f32, as digests, by what they are stored as."""

    rows: Mapping[Storage, frozenset[bytes]]

    @classmethod
    def of(cls, module: "ir.Module", weights: WeightStore, numbers: NumberPlan) -> "StoredRows":
        """Those that `sparsity-quantize` will store, if fusion does not change them."""
        found: dict[Storage, set[bytes]] = {storage: set() for storage in numbers.storages}
        for op in walk(module, "sparsity.linear", "sparsity.embedding"):
            weight = weight_behind(op.weight if op.operation.name == "sparsity.linear" else op.table)
            storage = numbers.of(next(iter(module_paths(op.location)), "")).storage
            if weight is not None and storage in found:
                array = array_of(weight, weights)
                if array.dtype == np.float32 and array.ndim == 2:
                    found[storage].update(_rows(array))
        return cls({storage: frozenset(rows) for storage, rows in found.items()})


def _rows(array: np.ndarray) -> list[bytes]:
    """Digests of the rows of `array`."""
    return [hashlib.blake2b(row.data, digest_size=16).digest() for row in np.ascontiguousarray(array)]


@dataclasses.dataclass(frozen=True)
class QuantizedModel:
    """A copy of a module with the weights that the formats hold. `whole`: every stored row was found in it."""

    module: "torch.nn.Module"
    whole: bool


def quantized_model(module: "torch.nn.Module", stored: StoredRows) -> QuantizedModel:
    """`module` with every parameter whose rows (or columns) are `stored` rounded as they are; others as they are.

    The module is not changed. Raises `CompileError` with the name of a parameter that the format does not hold.
    """
    import torch

    from secateur.frontends.private_copy import private_copy

    copy = private_copy(module)
    missing = {storage: set(rows) for storage, rows in stored.rows.items()}
    for name, tensor in [*copy.named_parameters(), *copy.named_buffers()]:
        if tensor.dim() != 2 or tensor.dtype != torch.float32:
            continue
        array = tensor.detach().cpu().numpy()
        for turned, storage in itertools.product((array, array.T), stored.rows):
            rows = set(_rows(turned))
            if rows <= stored.rows[storage]:
                missing[storage] -= rows
                try:
                    read = storage.read_rows(*storage.store_rows(turned))
                except QuantizationError as error:
                    raise CompileError(f"'{name}' cannot be stored: {error}") from None
                tensor.data = torch.from_numpy(np.ascontiguousarray(read if turned is array else read.T))
                break
    return QuantizedModel(copy, not any(missing.values()))


def quantized_reference(
    original: Reference,
    stored: StoredRows,
    statistics: Sequence[Statistics],
) -> tuple[Reference, QuantizationReport]:
    """The outputs of the model with rounded weights, and how far they are from the `original` ones.

    `statistics` of the passes, for each target. Raises `CompileError` for a weight that the format does not hold, and
    `VerificationError` where rounding leaves nothing of an output.
    """
    model = quantized_model(original.loaded.module, stored)
    stored_as = " and ".join(storage.name for storage in stored.rows)
    exact = model.whole and all(map(_is_exact, statistics))
    loaded = dataclasses.replace(original.loaded, module=model.module)
    reference = original.of(loaded, None if exact else loosest(storage.coarse for storage in stored.rows))
    anything = Tolerance(1.0, np.inf)
    differences = verify(reference.outputs, original.outputs, reference.cases, original.output_names, anything)
    for difference in differences:
        if not difference.relative_l2 < 1.0:
            raise VerificationError(
                f"with weights of {stored_as} nothing is left of output '{difference.output}' ({difference.case}): "
                f"its relative L2 from the model's own is {difference.relative_l2:.1e}; compile it with other 'weights'"
            )
    counted = statistics[0].get("sparsity-quantize", {})
    report = QuantizationReport(
        stored_as,
        f32_bytes=int(counted.get("bytes-before", 0)),
        stored_bytes=int(counted.get("bytes-after", 0)),
        relative_l2=max((d.relative_l2 for d in differences), default=0.0),
        exact=exact,
    )
    return reference, report


def _is_exact(statistics: Statistics) -> bool:
    """Whether the code of a target holds rows of the model's parameters: none was changed, and all were stored."""
    fused = statistics.get("sparsity-fuse", {})
    left = statistics.get("sparsity-quantize", {}).get("left-in-f32", 0)
    return not left and not any(fused.get(name) for name in _CHANGE_ROWS)
