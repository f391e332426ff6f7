"""Which core ATen ops can be compiled. `torch.export` leaves these, their in-place forms, and ops made of them."""

import torch
from torch._ops import OpOverloadPacket

_COMPLEX = "complex numbers have no form"
_RANDOM = "random numbers have no form"

NOT_COVERED = {
    "_fft_c2r.default": _COMPLEX,
    "_fft_r2c.default": _COMPLEX,
    "nonzero.default": "the size of its result depends on values",
    "rand.default": _RANDOM,
    "randn.default": _RANDOM,
    "randperm.default": _RANDOM,
}
"""Op without `aten.` -> why it is reported instead. All other core ops are compiled."""


def core_ops() -> list[str]:
    """The core ATen ops of this PyTorch, `name.overload`, sorted; without those of the backward pass."""
    found = []
    for name in dir(torch.ops.aten):
        packet = getattr(torch.ops.aten, name)
        # Whether a tensor is contiguous is known while PyTorch exports.
        if isinstance(packet, OpOverloadPacket) and "backward" not in name and name != "sym_is_contiguous":
            overloads = [overload for overload in packet.overloads() if _is_core(packet, overload)]
            found += [f"{name}.{overload}" for overload in overloads]
    return sorted(found)


def _is_core(packet: OpOverloadPacket, overload: str) -> bool:
    return torch.Tag.core in getattr(packet, overload).tags
