"""What is known of a machine to compile for."""

import dataclasses
from typing import Literal

from secateur.dialects.errors import SecateurError


class TargetError(SecateurError):
    """A target does not exist or does not take an option; the text is one sentence."""

    usage = True


@dataclasses.dataclass(frozen=True)
class Target:
    """A machine to compile for.

    `name`: with its model, as `get_target` takes it. `description`: the fields of `#sparsity.target` (sizes in bytes;
    `workers` is the number of threads that workgroups are made for). `iree_flags`: for IREE's compiler. `architecture`
    ("x86_64", "aarch64"; "vulkan" for GPUs) and `cpu_features` (names as in /proc/cpuinfo): what a machine must have
    to run the code. `note`: where the code of this target was seen to run, and where not. `backend`: IREE's.
    `lowering`: the one that is used unless another is asked for. `subgroup`: the lanes of a GPU subgroup that the code
    relies on, None where it uses no subgroup operations. `emulator`: the device on which the code can be checked
    without the machine ("qemu:cortex-a76", "vulkan:16"); None where it runs here, or nothing can check it. `f16`:
    whether it computes with half-precision numbers.
    """

    name: str
    summary: str
    description: dict[str, int | str]
    iree_flags: tuple[str, ...]
    architecture: str
    cpu_features: tuple[str, ...]
    note: str
    backend: Literal["llvm-cpu", "vulkan"] = "llvm-cpu"
    lowering: str = "kernels"
    subgroup: int | None = None
    emulator: str | None = None
    f16: bool = False

    @property
    def dot(self) -> str:
        """The instruction for products of bytes; empty where kernels know none."""
        return str(self.description.get("dot", ""))

    def description_text(self) -> str:
        """The description as an attribute, letter by letter as MLIR prints it: records hold that text."""

        def text(value: int | str) -> str:
            return f'"{value}"' if isinstance(value, str) else f"{value} : i64"

        fields = ", ".join(f"{name} = {text(value)}" for name, value in sorted(self.description.items()))
        return f"#sparsity.target<{{{fields}}}>"
