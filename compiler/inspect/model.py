"""What is in a model before it is compiled: how the zeros of each linear layer lie and what that saves."""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from secateur.dialects import schemes

if TYPE_CHECKING:
    import torch

    Model: TypeAlias = torch.nn.Module | Mapping[str, np.ndarray] | str | os.PathLike[str]


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """A linear layer: weight [rows, columns] and the description of its zeros that takes the fewest bytes.

    `parameters` are the fields of the encoding (`encoding` is its text, such as `bcr 4x16`); `sparsity_fraction` of
    the weights are zero; FLOPs are a multiplication and an addition per weight and token, of all weights and of
    those that the encoding keeps (padding too); bytes are those of the dense weight, of the packed one, and of
    compressed sparse rows.
    """

    name: str
    rows: int
    columns: int
    encoding: str
    scheme: str
    parameters: dict[str, object]
    sparsity_fraction: float
    dense_flops: int
    kept_flops: int
    dense_bytes: int
    packed_bytes: int
    csr_bytes: int


def inspect_model(model: "Model", seq_len: int = 128) -> list[LayerReport]:
    """A record per linear layer of `model`, in its order; FLOPs are those of `seq_len` tokens.

    `model` is a module (its `torch.nn.Linear`s; a weight that several share is listed once), a mapping of names
    to arrays such as a `WeightStore` (its matrices, but for those named `embedding`), the folder of a saved
    weight store, or a Hugging Face folder. Nothing is compiled or changed.
    """
    return [layer_report(name, weight, seq_len) for name, weight in linear_weights(model)]


def layer_report(name: str, weight: np.ndarray, seq_len: int) -> LayerReport:
    """The record of one weight [rows, columns]."""
    mask = schemes.nonzeros(weight)
    encoding = schemes.detect(mask)
    rows, columns = weight.shape
    return LayerReport(
        name=name,
        rows=rows,
        columns=columns,
        encoding=str(encoding),
        scheme=encoding.scheme,
        parameters=encoding.parameters(),
        sparsity_fraction=1 - int(np.count_nonzero(mask)) / mask.size if mask.size else 0.0,
        dense_flops=2 * seq_len * mask.size,
        kept_flops=2 * seq_len * int(np.count_nonzero(encoding.kept(mask))),
        dense_bytes=schemes.Dense().packed_bytes(mask),
        packed_bytes=encoding.packed_bytes(mask),
        csr_bytes=schemes.csr_bytes(mask),
    )


def linear_weights(model: "Model") -> Iterator[tuple[str, np.ndarray]]:
    """Name and weight [rows, columns] of each linear layer; names without the final `.weight`."""
    if isinstance(model, str | os.PathLike):
        yield from linear_weights(_open(model))
    elif isinstance(model, Mapping):
        for name, array in model.items():
            if array.ndim == 2 and array.dtype.kind == "f" and "embedding" not in name.lower():
                yield name.removesuffix(".weight"), array
    else:
        import torch

        seen: set[int] = set()
        for name, layer in model.named_modules():
            if isinstance(layer, torch.nn.Linear):
                parameter = getattr(layer, "weight_orig", layer.weight)
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield name, layer.weight.detach().to(torch.float32).cpu().numpy()


def is_weight_store(path: "str | os.PathLike[str]") -> bool:
    """Whether `path` is the folder of a saved weight store."""
    return (Path(path) / "symbols.json").is_file()


def _open(model: "str | os.PathLike[str]") -> "Model":
    from secateur.dialects.weight_store import WeightStore

    if is_weight_store(model):
        return WeightStore.open(Path(model))
    from secateur.frontends import load_model

    return load_model(model).module
