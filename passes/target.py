"""What a pass reads of the target: the module attribute `sparsity.target`."""

import dataclasses

from torch_mlir import ir

from secateur.dialects.sparsity.attributes import TARGET, Target
from secateur.dialects.sparsity.dialect import VerifyError

from .base import PassFailure

TOKENS_OF_A_THREAD = 4
"""Tokens of a GPU's thread: one 128-bit load."""


@dataclasses.dataclass(frozen=True)
class TargetDescription:
    """Sizes in bytes; `workers` is the number of threads that run workgroups.

    `threads`: how many a dispatch on a GPU should have at least, 0 for a CPU. `by_lane`: a multiply-add takes one lane
    of a register for all lanes of an operand, as NEON's does. `dot`: the instruction for products of bytes; empty where
    there is none. `gather`: whether an instruction that loads a number for each lane from an address of its own is
    faster than loading them one by one. `half_products`: whether a GPU multiplies f16 faster than f32.
    """

    vector_bytes: int = 16
    registers: int = 32
    workers: int = 1
    l1_bytes: int = 32768
    l2_bytes: int = 1 << 20
    threads: int = 0
    by_lane: bool = False
    dot: str = ""
    gather: int = 0
    half_products: int = 0

    @property
    def lookup(self) -> bool:
        """Whether an instruction takes a number for each lane from two vectors: AVX-512 has one for 16 lanes."""
        return self.vector_bytes == 64

    @property
    def matrices(self) -> bool:
        """Whether an instruction multiplies two rows of eight bytes with eight bytes of two tokens."""
        return self.dot == "smmla"

    @property
    def byte_zero_point(self) -> int:
        """What is added to activations of bytes: 128 where the instruction takes unsigned ones."""
        return 128 if self.dot == "vpdpbusd" else 0


def target_of(module: ir.Module) -> TargetDescription:
    """The module's target; where it names none, 128-bit vectors and 32 registers, which every target has or emulates.

    Raises `PassFailure` for a malformed attribute.
    """
    if TARGET not in module.operation.attributes:
        return TargetDescription()
    attribute = module.operation.attributes[TARGET]
    if not isinstance(attribute, Target):
        raise PassFailure(module.operation, f"expected '{TARGET}' to be #sparsity.target, found {attribute}")
    try:
        attribute.check()
    except VerifyError as error:
        raise PassFailure(module.operation, str(error)) from None
    known = {f.name for f in dataclasses.fields(TargetDescription)}
    found = {k: v for k, v in attribute.values().items() if k in known}
    # Of the CPUs that there is code for, only those with NEON have 32 registers of 16 bytes.
    return TargetDescription(**found, by_lane=(found["vector_bytes"], found["registers"]) == (16, 32))
