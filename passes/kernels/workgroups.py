"""Threads of a GPU that work together: memory that a workgroup shares, and the barrier between writing and reading it.

A kernel may take such memory only before its body branches. A barrier stands where all threads of a workgroup come by:
under loops and conditions that are the same for all of them.
"""

from collections.abc import Sequence

from torch_mlir import ir
from torch_mlir.dialects import gpu, memref

from .build import Value

WORKGROUP_BYTES = 16384
"""Memory that every GPU with Vulkan grants a workgroup (`maxComputeSharedMemorySize`)."""


def shared_memory(shape: Sequence[int], vector: ir.Type) -> Value:
    """Memory of one workgroup for vectors of the type `vector`, undefined at first."""
    space = ir.Attribute.parse("#gpu.address_space<workgroup>")
    return memref.AllocOp(ir.MemRefType.get(shape, vector, memory_space=space), [], []).result


def barrier() -> None:
    """Waits for the other threads of the workgroup: what they wrote before can be read behind."""
    gpu.barrier()
