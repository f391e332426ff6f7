"""The families of targets, and `get_target`.

A family is one entry of `FAMILIES`: a summary, its models, the default one, and a function that makes the target.
"""

import dataclasses
import difflib
import platform
from collections.abc import Callable, Mapping

from ..cpu import HostCpu, host_cpu
from .byte_products import dot_instruction
from .cpu_models import CPU_MODELS, DEFAULT_CPU, REGISTERS, VECTOR_BYTES
from .gpu_models import DEFAULT_GPU, GPU_MODELS, LLVMPIPE, GpuModel
from .target import Target, TargetError

# Where no number of threads is given: cores of one kind that a phone has are rarely more.
_PHONE_WORKERS = 1
_VECTOR_OF_A_LANE_BYTES = 16
# With fewer threads than this a phone's GPU is not filled.
_LEAST_THREADS = 2048
_HALF = "asimdhp"
# Vulkan 1.3 takes SPIR-V up to 1.6. For versions from 1.4 on IREE marks sums that do not wrap, and then writes a module
# of an older version, which has no such mark without an extension (iree-org/iree issue 24724).
_SPIRV = "--iree-vulkan-target-features=spirv:v1.3,cap:Shader"
# What SPIR-V has for products of bytes. It takes words of 32 bits, so that a GPU needs no numbers of 8 bits.
_PRODUCT = "OpSDot"
_NO_PHONE = "it has not run on a phone"


def _host(model: str, workers: int | None) -> Target:
    cpu: HostCpu = host_cpu()
    return Target(
        name="host-cpu",
        summary="the CPU of this machine, with all its vector instructions",
        description={
            "vector_bytes": cpu.vector_bytes,
            "registers": cpu.registers,
            "workers": workers or cpu.workers,
            "l1_bytes": cpu.l1_bytes,
            "l2_bytes": cpu.l2_bytes,
            **dot_instruction(platform.machine(), cpu.features, cpu.vector_bytes),
            **({"gather": 1} if cpu.gather else {}),
        },
        iree_flags=(
            "--iree-hal-target-device=local",
            "--iree-hal-local-target-device-backends=llvm-cpu",
            "--iree-llvmcpu-target-cpu=host",
        ),
        architecture=platform.machine(),
        cpu_features=cpu.features,
        note="each compilation is compared with PyTorch on the machine that compiles",
        f16=_HALF in cpu.features,
    )


def _arm(family: str, triple: str, unseen: str) -> Callable[[str, int | None], Target]:
    """`unseen`: where the code has not run, as the end of a note."""

    def make(model: str, workers: int | None) -> Target:
        cpu = CPU_MODELS[model]
        disabled = (f"--iree-llvmcpu-target-cpu-features={cpu.disabled}",) if cpu.disabled else ()
        return Target(
            name=f"{family}:{model}",
            summary=f"{model}: {cpu.summary}",
            description={
                "vector_bytes": VECTOR_BYTES,
                "registers": REGISTERS,
                "workers": workers or _PHONE_WORKERS,
                "l1_bytes": cpu.l1_kib << 10,
                "l2_bytes": cpu.l2_kib << 10,
                **dot_instruction("aarch64", cpu.features, VECTOR_BYTES),
            },
            iree_flags=(
                "--iree-hal-target-device=local",
                "--iree-hal-local-target-device-backends=llvm-cpu",
                f"--iree-llvmcpu-target-triple={triple}",
                f"--iree-llvmcpu-target-cpu={model}",
                *disabled,
            ),
            architecture="aarch64",
            cpu_features=tuple(sorted(cpu.features)),
            note=f"each compilation is compared with PyTorch on QEMU's {cpu.qemu}, where QEMU is installed; {unseen}",
            emulator=f"qemu:{cpu.qemu}",
            f16=_HALF in cpu.features,
        )

    return make


def _gpu(name: str, gpu: GpuModel, note: str) -> Callable[[str, int | None], Target]:
    def make(model: str, workers: int | None) -> Target:
        lanes = {} if gpu.subgroup is None else {"subgroup": gpu.subgroup}
        half = {"half_products": 1} if gpu.f16 and gpu.half_products else {}
        return Target(
            name=name,
            summary=f"{gpu.name}: {gpu.summary}",
            description={
                "vector_bytes": _VECTOR_OF_A_LANE_BYTES,
                "registers": gpu.registers,
                "threads": _LEAST_THREADS,
                "workers": workers or 1,
                "l1_bytes": gpu.l1_kib << 10,
                "l2_bytes": gpu.l2_kib << 10,
                "dot": _PRODUCT,
                **lanes,
                **half,
            },
            iree_flags=("--iree-hal-target-device=vulkan", f"--iree-vulkan-target={gpu.name}", _SPIRV),
            architecture="vulkan",
            cpu_features=(),
            note=note,
            backend="vulkan",
            lowering="gpu",
            subgroup=gpu.subgroup,
            emulator=gpu.emulator,
            f16=gpu.f16,
        )

    return make


def _phone_gpu(model: str, workers: int | None) -> Target:
    gpu = GPU_MODELS[model]
    if gpu.emulator is None:
        note = (
            f"a compilation is not compared with PyTorch: nothing here has {gpu.subgroup} lanes; a model's code "
            f"with the lanes replaced by 16 was; {_NO_PHONE}"
        )
    else:
        lanes = gpu.emulator.partition(":")[2]
        note = (
            f"each compilation is compared with PyTorch on Mesa's lavapipe with {lanes} lanes, where it is installed; "
            f"{_NO_PHONE}"
        )
    return _gpu(f"android-vulkan:{model}", gpu, note)(model, workers)


@dataclasses.dataclass(frozen=True)
class Family:
    """Targets of one kind. `models` and `default` are empty where there is only one. `assumes`: of the machine."""

    name: str
    summary: str
    assumes: str
    make: Callable[[str, int | None], Target]
    models: tuple[str, ...] = ()
    default: str = ""

    def names(self) -> list[str]:
        """The full names of its targets."""
        return [f"{self.name}:{model}" for model in self.models] or [self.name]


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(
            "host-cpu",
            "the CPU of this machine, with all its vector instructions",
            "the CPU features of the machine that compiles",
            _host,
        ),
        Family(
            "android-arm64",
            "64-bit Arm CPU of an Android phone",
            "Android 12 (API level 31) or newer; the CPU features of the model",
            _arm("android-arm64", "aarch64-none-linux-android31", _NO_PHONE),
            tuple(name for name in CPU_MODELS if name != "neoverse-n1"),
            DEFAULT_CPU,
        ),
        Family(
            "linux-arm64",
            "64-bit Arm CPU under Linux",
            "glibc 2.28 or newer; the CPU features of the model",
            _arm("linux-arm64", "aarch64-none-linux-gnu", "it has not run on such a machine"),
            tuple(CPU_MODELS),
            DEFAULT_CPU,
        ),
        Family(
            "android-vulkan",
            "GPU of an Android phone, through Vulkan",
            "Vulkan 1.3 or newer; exactly the subgroup size of the model",
            _phone_gpu,
            tuple(GPU_MODELS),
            DEFAULT_GPU,
        ),
        Family(
            "vulkan-llvmpipe",
            "GPU in software (Mesa's lavapipe), to check GPU code without a GPU",
            "Vulkan 1.3 or newer with 8 lanes (LP_NATIVE_VECTOR_WIDTH=256)",
            _gpu(
                "vulkan-llvmpipe",
                LLVMPIPE,
                "each compilation is compared with PyTorch on Mesa's lavapipe, where it is installed",
            ),
        ),
    )
}


def families() -> list[Family]:
    """The families, in the order to list them in."""
    return list(FAMILIES.values())


def targets() -> dict[str, str]:
    """Full target name -> one-line summary."""
    return {name: get_target(name).summary for family in families() for name in family.names()}


def get_target(name: str, *, workers: int | None = None) -> Target:
    """The target of that name, `FAMILY` (then the default model of the family) or `FAMILY:MODEL`.

    `workers`: threads that the code will run on (default: all CPUs of the process for `host-cpu`, else 1). Raises
    `TargetError`.
    """
    if workers is not None and workers < 1:
        raise TargetError(f"a target needs at least 1 worker, found {workers}")
    first, colon, model = name.partition(":")
    family = FAMILIES.get(first)
    if family is None:
        raise TargetError(f"there is no target '{name}'; did you mean '{_nearest(name)}'? Known targets: {_known()}")
    if not colon:
        return family.make(family.default, workers)
    if not family.models:
        raise TargetError(f"the target '{family.name}' has no models, found '{name}'")
    if model not in family.models:
        near = difflib.get_close_matches(model.lower(), family.models, n=1, cutoff=0.0)[0]
        raise TargetError(
            f"the target '{family.name}' has no model '{model}'; did you mean '{family.name}:{near}'? "
            f"Its models: {', '.join(family.models)}"
        )
    return family.make(model, workers)


def _known() -> str:
    return ", ".join(f"{f.name}[:MODEL]" if f.models else f.name for f in families())


def _nearest(name: str) -> str:
    """The target that was probably meant: a model may be named alone, and either part may be misspelt."""
    names = [*FAMILIES, *(n for family in families() for n in family.names())]
    # The bare model of a phone's CPU or GPU.
    bare = {model: f"{f.name}:{model}" for f in reversed(families()) for model in f.models}
    bare.update({n: n for n in names})
    return bare[difflib.get_close_matches(name.lower(), bare, n=1, cutoff=0.0)[0]]
