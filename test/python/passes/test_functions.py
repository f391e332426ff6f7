"""exp, tanh and the activations of kernels: their errors over all exponents, special values, and their machine code."""

import math
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch_mlir import ir
from torch_mlir.dialects import vector

from secateur.compiler.pipeline.context import make_context
from secateur.compiler.semantics.engine import call_kernel
from secateur.dialects.sparsity.kernel_ops import segment_sizes
from secateur.passes.kernels import functions
from secateur.passes.kernels.build import loop
from secateur.runtime_targets import iree
from secateur.runtime_targets.targets import get_target

SIZE = 1 << 16
SMALLEST_NORMAL = 2.0**-126
# Zero and infinity of f32 in bits, every 509th number between them, and as many negative ones.
STEP, INFINITY_BITS = 509, 0x7F800000


def exact_gelu(x: np.ndarray) -> np.ndarray:
    tail = np.fromiter(map(math.erfc, (-x / math.sqrt(2.0)).tolist()), np.float64, x.size)
    return 0.5 * x * tail


def exact_sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


EXACT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exp": np.exp,
    "tanh": np.tanh,
    "sigmoid": exact_sigmoid,
    "silu": lambda x: x * exact_sigmoid(x),
    "gelu": exact_gelu,
    "gelu_tanh": lambda x: x * exact_sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)),
    "relu": lambda x: np.maximum(x, 0),
}


def kernel(names: list[str], width: int, size: int = SIZE) -> ir.Module:
    """A module whose kernel `k` applies the functions one after the other; call it within a context."""
    module = ir.Module.parse(
        f"""
        func.func private @k(%x: memref<{size}xf32>, %y: memref<{size}xf32>, %i: index, %j: index, %l: index)
            attributes {{sparsity.kernel}} {{ return }}
        func.func @main(%x: tensor<{size}xf32>) -> tensor<{size}xf32> {{
          %y = "sparsity.dispatch"(%x) {{kernel = @k, grid = array<i64: 1, 1, 1>,
            {segment_sizes(1)}}}
            : (tensor<{size}xf32>) -> tensor<{size}xf32>
          return %y : tensor<{size}xf32>
        }}"""
    )
    block = module.body.operations[0].regions[0].blocks[0]
    source, target = list(block.arguments)[:2]

    def body(at: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
        value = vector.load(ir.VectorType.get([width], ir.F32Type.get()), source, [at])
        for name in names:
            value = getattr(functions, name)(value)
        vector.store(value, target, [at])
        return []

    with ir.InsertionPoint.at_block_begin(block):
        loop(0, size, width, [], body)
    return module


def apply(name: str, x: np.ndarray, width: int = 16) -> np.ndarray:
    """The function on any number of values, as float64."""
    padded = np.zeros(-(-x.size // SIZE) * SIZE, np.float32)
    padded[: x.size] = x
    with make_context(), ir.Location.unknown():
        module = kernel([name], width)
        function = module.body.operations[0]
        parts = [call_kernel(function, module, [1, 1, 1], [part], [1])[0] for part in padded.reshape(-1, SIZE)]
    return np.concatenate(parts)[: x.size].astype(np.float64)


@pytest.mark.parametrize(
    ("name", "unit", "limit"),
    [
        ("exp", "result", 1.0),
        ("tanh", "result", 1.5),
        ("sigmoid", "result", 2.5),
        ("silu", "input", 1.5),
        ("gelu", "input", 1.5),
        ("gelu_tanh", "input", 1.5),
        ("relu", "result", 0.0),
    ],
)
def test_error_over_all_exponents(name, unit, limit):
    bits = np.arange(0, INFINITY_BITS, STEP, dtype=np.int32)
    x = np.concatenate([bits.view(np.float32), -bits.view(np.float32)])
    with np.errstate(over="ignore"):
        exact = EXACT[name](x.astype(np.float64))
        finite = np.isfinite(exact.astype(np.float32))
    found = apply(name, x)
    np.testing.assert_array_equal(found[~finite], np.inf)
    found, exact, x = found[finite], exact[finite], x[finite]
    if unit == "result":
        units = 2.0 ** (np.floor(np.log2(np.maximum(np.abs(exact), SMALLEST_NORMAL))) - 23)
    else:
        units = 2.0**-23 * np.maximum(np.abs(x.astype(np.float64)), SMALLEST_NORMAL)
    normal = np.abs(exact) >= 2.0**-125.5
    errors = np.abs(found - exact) / units
    worst = np.argmax(np.where(normal, errors, 0))
    assert errors[worst] <= limit, f"{name}({x[worst]!r}) = {found[worst]!r}, not {exact[worst]!r}"
    # Far out in a tail, zero or next to nothing is accepted.
    assert np.abs(found[~normal]).max(initial=0) <= 2.0**-71
    assert normal.sum() > 1_000_000


@pytest.mark.parametrize("width", [4, 8, 16])
@pytest.mark.parametrize("name", EXACT)
def test_special_values(name, width):
    largest = float(np.finfo(np.float32).max)
    x = np.array([np.nan, np.inf, -np.inf, largest, -largest, 0.0, -0.0, 1e-42, -1e-42], np.float32)
    limits = {
        "exp": [np.inf, 0, np.inf, 0, 1, 1, 1, 1],
        "tanh": [1, -1, 1, -1, 0.0, -0.0, x[7], x[8]],
        "sigmoid": [1, 0, 1, 0, 0.5, 0.5, 0.5, 0.5],
        # As in PyTorch, -inf / (1 + inf) is NaN.
        "silu": [np.inf, np.nan, largest, 0, 0.0, -0.0, x[7] / 2, x[8] / 2],
        "gelu": [np.inf, 0, largest, 0, 0.0, -0.0, x[7] / 2, x[8] / 2],
        "gelu_tanh": [np.inf, 0, largest, 0, 0.0, -0.0, x[7] / 2, x[8] / 2],
        "relu": [np.inf, 0, largest, 0, 0.0, 0.0, x[7], 0],
    }[name]
    found = apply(name, x, width)
    np.testing.assert_allclose(found, [np.nan, *limits], rtol=0, atol=1e-21)
    if name in ("tanh", "silu", "gelu", "gelu_tanh"):
        np.testing.assert_array_equal(np.signbit(found[5:]), [False, True, False, True])
    np.testing.assert_allclose(found[7:], limits[6:], rtol=0, atol=2e-45 if name != "relu" else 0)


@pytest.mark.parametrize("name", ["exp", "sigmoid"])
def test_no_step_back_where_the_reduction_changes(name):
    """At the multiples of ln 2 / 2 the integer part changes."""
    centres = np.arange(-120, 120) * math.log(2) / 2
    near = np.concatenate([centres - 1e-4, centres, centres + 1e-4]).astype(np.float32)
    found = apply(name, np.sort(near))
    assert (np.diff(found) >= 0).all()


CPUS = {
    "avx512": (16, "x86_64-unknown-linux-gnu", "skylake-avx512"),
    "avx2": (8, "x86_64-unknown-linux-gnu", "haswell"),
    "neon": (4, "aarch64-none-linux-android31", "cortex-a76"),
}


@pytest.mark.parametrize("cpu", CPUS)
def test_machine_code_calls_nothing_and_keeps_vectors(cpu):
    width, triple, name = CPUS[cpu]
    with make_context(), ir.Location.unknown():
        assembly = iree.assemble(kernel(list(EXACT), width, 64 * width), {})
    with tempfile.TemporaryDirectory() as folder:
        flags = [
            f"--iree-llvmcpu-target-triple={triple}",
            f"--iree-llvmcpu-target-cpu={name}",
            f"--iree-hal-dump-executable-intermediates-to={folder}",
        ]
        iree.compile_assembly(assembly, get_target("host-cpu", workers=1), flags=flags)
        (listing,) = Path(folder).glob("*.s")
        code = re.search(r"^k:\n(.*?)^\.Lfunc_end", listing.read_text(), re.MULTILINE | re.DOTALL)
    instructions = [line.split()[0] for line in code[1].splitlines() if re.match(r"\t[a-z]", line)]
    assert len(instructions) > 100
    assert not {"call", "callq", "bl", "blr"} & set(instructions)
    scalar = [i for i in instructions if re.match(r"v?(mul|add|sub|div|fn?m(add|sub)\d+)ss$", i)]
    assert not scalar
