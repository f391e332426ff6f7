"""GPUs with Vulkan: one row a model that IREE's compiler knows. Any other name ends the compiler with a stack dump.

`subgroup` is a matter of correctness: code for another number of lanes than the device has gives wrong numbers without
an error. The Android baseline profile uses no subgroup operations, and its code runs with any number.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class GpuModel:
    """A GPU or a family of them. `name`: IREE's; `subgroup`: lanes the code relies on, None where on none.

    `f16`: whether numbers of 16 and 8 bits may be used; `half_products`: whether f16 is then multiplied faster than f32
    (a Mali and an Adreno do two at a time, lavapipe does it in f32). `registers`: vectors of four numbers that a thread
    may keep without fewer threads running at a time (a Mali has 64 numbers, an Adreno more). `l1_kib`, `l2_kib`: shared
    memory of a workgroup and L2, in KiB. `emulator`: the device that runs the code here.
    """

    name: str
    subgroup: int | None
    f16: bool
    registers: int
    l1_kib: int
    l2_kib: int
    emulator: str | None
    summary: str
    half_products: bool = True


_TABLE = (
    # name, subgroup, f16, registers, L1 KiB, L2 KiB, checked here on, which it is
    ("vp_android_baseline_2022", None, False, 16, 16, 512, "vulkan:8", "phones with Android's baseline profile, 2022"),
    ("adreno", 64, True, 24, 32, 1024, None, "any Qualcomm Adreno"),
    ("adreno-6xx", 64, True, 24, 32, 1024, None, "Qualcomm Adreno 600 series"),
    ("adreno-640", 64, True, 24, 32, 1024, None, "Qualcomm Adreno 640"),
    ("adreno-650", 64, True, 24, 32, 1024, None, "Qualcomm Adreno 650"),
    ("adreno-660", 64, True, 24, 32, 1024, None, "Qualcomm Adreno 660"),
    ("adreno-7xx", 64, True, 24, 32, 1024, None, "Qualcomm Adreno 700 series"),
    ("adreno-730", 64, True, 24, 32, 1024, None, "Qualcomm Adreno 730"),
    ("adreno-740", 64, True, 24, 32, 1024, None, "Qualcomm Adreno 740"),
    ("adreno-750", 64, True, 24, 32, 1024, None, "Qualcomm Adreno 750"),
    ("adreno-8xx", 64, True, 24, 32, 1024, None, "Qualcomm Adreno 800 series"),
    ("adreno-830", 64, True, 24, 32, 1024, None, "Qualcomm Adreno 830"),
    ("valhall", 16, True, 16, 32, 1024, "vulkan:16", "any Arm Mali Valhall"),
    ("valhall1", 16, True, 16, 32, 1024, "vulkan:16", "Arm Mali Valhall 1"),
    ("valhall2", 16, True, 16, 32, 1024, "vulkan:16", "Arm Mali Valhall 2"),
    ("valhall3", 16, True, 16, 32, 1024, "vulkan:16", "Arm Mali Valhall 3"),
    ("valhall4", 16, True, 16, 32, 1024, "vulkan:16", "Arm Mali Valhall 4"),
    ("mali-g77", 16, True, 16, 32, 1024, "vulkan:16", "Arm Mali-G77"),
    ("mali-g78", 16, True, 16, 32, 1024, "vulkan:16", "Arm Mali-G78"),
    ("mali-g710", 16, True, 16, 32, 1024, "vulkan:16", "Arm Mali-G710"),
    ("mali-g715", 16, True, 16, 32, 1024, "vulkan:16", "Arm Mali-G715"),
    ("mali-g720", 16, True, 16, 32, 1024, "vulkan:16", "Arm Mali-G720"),
)

GPU_MODELS = {row[0]: GpuModel(*row) for row in _TABLE}
DEFAULT_GPU = "vp_android_baseline_2022"
LLVMPIPE = GpuModel("llvmpipe", 8, True, 24, 32, 1024, "vulkan:8", "Mesa's GPU in software, for checks without a GPU",
                    half_products=False)  # fmt: skip
