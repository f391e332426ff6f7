"""Every pass by name, imported when first used. A pass of another package registers itself through the
entry-point group `secateur.passes` (name = pass name, value = `module:Class`).
"""

import functools
import importlib
import importlib.metadata
from collections.abc import Mapping
from types import MappingProxyType

from .base import Pass

PASSES = {
    "convert-torch-to-sparsity": "secateur.passes.structural.convert_torch_to_sparsity:ConvertTorchToSparsity",
    "sparsity-detect": "secateur.passes.structural.sparsity_detect:SparsityDetect",
    "sparsity-fuse": "secateur.passes.structural.sparsity_fuse:SparsityFuse",
    "sparsity-schedule": "secateur.passes.scheduled.sparsity_schedule:SparsitySchedule",
    "sparsity-reorder": "secateur.passes.scheduled.sparsity_reorder:SparsityReorder",
    "sparsity-pack-rows": "secateur.passes.scheduled.sparsity_pack_rows:SparsityPackRows",
    "sparsity-pack": "secateur.passes.scheduled.sparsity_pack:SparsityPack",
    "sparsity-pack-convolutions": "secateur.passes.scheduled.sparsity_pack_convolutions:SparsityPackConvolutions",
    "sparsity-layout": "secateur.passes.scheduled.sparsity_layout:SparsityLayout",
    "sparsity-tile": "secateur.passes.scheduled.sparsity_tile:SparsityTile",
    "sparsity-eliminate-loads": "secateur.passes.scheduled.sparsity_eliminate_loads:SparsityEliminateLoads",
    "sparsity-number-format": "secateur.passes.scheduled.sparsity_number_format:SparsityNumberFormat",
    "sparsity-half-activations": "secateur.passes.scheduled.sparsity_half_activations:SparsityHalfActivations",
    "sparsity-quantize": "secateur.passes.scheduled.sparsity_quantize:SparsityQuantize",
    "sparsity-quantize-activations": (
        "secateur.passes.scheduled.sparsity_quantize_activations:SparsityQuantizeActivations"
    ),
    "sparsity-quantize-attention": "secateur.passes.scheduled.sparsity_quantize_attention:SparsityQuantizeAttention",
    "convert-sparsity-to-kernels": "secateur.passes.kernels.convert_sparsity_to_kernels:ConvertSparsityToKernels",
    "sparsity-chain": "secateur.passes.kernels.sparsity_chain:SparsityChain",
    "convert-sparsity-to-gpu-kernels": (
        "secateur.passes.kernels.convert_sparsity_to_gpu_kernels:ConvertSparsityToGpuKernels"
    ),
    "convert-sparsity-to-linalg": "secateur.passes.kernels.convert_sparsity_to_linalg:ConvertSparsityToLinalg",
}


class UnknownPassError(LookupError):
    """No pass has this name."""


@functools.cache
def known_passes() -> Mapping[str, str]:
    """Pass name -> `module:Class`, with those of other packages, which are looked up once a process."""
    others = {e.name: e.value for e in importlib.metadata.entry_points(group="secateur.passes")}
    return MappingProxyType({**others, **PASSES})


def load_class(reference: str) -> type[Pass]:
    """Imports `module:Class`. Raises `ImportError`, `AttributeError` or `TypeError` where it is no pass."""
    module, _, name = reference.partition(":")
    found = getattr(importlib.import_module(module), name)
    if not (isinstance(found, type) and issubclass(found, Pass)):
        raise TypeError(f"'{reference}' is no subclass of secateur.passes.base.Pass")
    return found


def find_pass(name: str) -> type[Pass]:
    """The class of a pass. Raises `UnknownPassError`."""
    try:
        return load_class(known_passes()[name])
    except KeyError:
        raise UnknownPassError(name) from None
