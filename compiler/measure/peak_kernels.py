"""The kernels that measure what a machine can do at most, as one module at the level of IR of a model's kernels."""

from typing import TYPE_CHECKING

from torch_mlir import ir
from torch_mlir.dialects import arith, vector

from secateur.dialects.sparsity.kernel_ops import segment_sizes
from secateur.passes.base import walk
from secateur.passes.kernels.build import Lanes, Value, index, loop
from secateur.passes.kernels.byte_products import ByteProducts, integers

if TYPE_CHECKING:
    from .machine_peak import PeakSizes

KERNELS = ("peak_fma", "peak_bytes", "read_l2", "read_l3", "read_memory")


def peak_module(sizes: "PeakSizes", dot: str) -> ir.Module:
    """`@main` calls each of `KERNELS` on its argument and returns a vector of every workgroup from each.

    `dot`: the target's instruction for products of bytes. In the current context.
    """
    lanes, groups = sizes.lanes, sizes.groups
    kinds = [f"{groups}x{lanes}x{element}" for element in ("f32", "i32", "f32", "f32", "f32")]
    calls = "".join(
        f'  %{kernel} = "sparsity.dispatch"(%x{n}) {{kernel = @{kernel}, grid = array<i64: {groups}, 1, 1>, '
        f"{segment_sizes(1)}}} : (tensor<{given}>) -> tensor<{kind}>\n"
        for n, (kernel, given, kind) in enumerate(zip(KERNELS, sizes.inputs, kinds, strict=True))
    )
    arguments = ", ".join(f"%x{n}: tensor<{given}>" for n, given in enumerate(sizes.inputs))
    results = ", ".join(f"tensor<{kind}>" for kind in kinds)
    vector_type = f"vector<{lanes}xf32>"
    module = ir.Module.parse(
        _fma_kernel(sizes.chains, sizes.steps, vector_type, sizes.inputs[0], kinds[0])
        + f"func.func private @peak_bytes(%x: memref<{sizes.inputs[1]}>, %y: memref<{kinds[1]}>, %g: index, "
        "%u: index, %v: index) attributes {sparsity.kernel} {\n  return\n}\n"
        + _read_kernel("read_l2", sizes.l2_bytes // 4, lanes, kinds[2], sizes.l2_passes, 1)
        + _read_kernel("read_l3", sizes.l3_bytes // 4, lanes, kinds[3], sizes.l3_passes, 1)
        + _read_kernel("read_memory", sizes.memory_bytes // 4, lanes, kinds[4], 1, groups)
        + f"func.func @main({arguments}) -> ({results}) {{\n{calls}"
        + f"  return {', '.join(f'%{kernel}' for kernel in KERNELS)} : {results}\n}}\n"
    )
    _, kernel, *_ = walk(module, "func.func")
    block = kernel.regions[0].blocks[0]
    with ir.InsertionPoint(block.operations[0]), ir.Location.unknown():
        _sum_bytes(sizes, ByteProducts(Lanes(lanes, dot=dot)), *list(block.arguments)[:3])
    return module


def _sum_bytes(sizes: "PeakSizes", products: ByteProducts, given: Value, result: Value, group: Value) -> None:
    """The body of `peak_bytes`: to each vector of sums, products of bytes are added with the target's instruction.

    The bytes that are multiplied are those of the sums: were they the same in every step, a compiler would multiply
    them once, where it knows the instruction. Where it takes two vectors, the second is the next sums.
    """
    *sums, weights = (vector.load(products.sums, given, [index(n), index(0)]) for n in range(sizes.chains + 1))
    weight = products.parts(vector.bitcast(integers(8, 4 * sizes.lanes), weights))

    def step(_: Value, totals: list[Value]) -> list[Value]:
        following = [*totals, *totals]
        return [
            products.multiply(
                total, [vector.bitcast(w.type, x) for w, x in zip(weight, following[n:], strict=False)], weight
            )
            for n, total in enumerate(totals)
        ]

    first, *others = loop(0, sizes.steps, 1, sums, step)
    for other in others:
        first = arith.addi(first, other)
    vector.store(first, result, [group, index(0)])


def _fma_kernel(chains: int, steps: int, vector: str, state: str, result: str) -> str:
    each = range(chains)
    loads = "".join(
        f"  %i{n} = arith.constant {n} : index\n  %s{n} = vector.load %x[%i{n}, %c0] : memref<{state}>, {vector}\n"
        for n in each
    )
    carried = ", ".join(f"%a{n} = %s{n}" for n in each)
    types = ", ".join([vector] * chains)
    body = "".join(f"    %n{n} = vector.fma %s0, %s1, %a{n} : {vector}\n" for n in each)
    sums = "".join(f"  %t{n} = arith.addf %{'t' if n > 1 else 'r#'}{n - 1}, %r#{n} : {vector}\n" for n in each[1:])
    return (
        f"func.func private @peak_fma(%x: memref<{state}>, %y: memref<{result}>, %g: index, %u: index, %v: index) "
        f"attributes {{sparsity.kernel}} {{\n  %c0 = arith.constant 0 : index\n  %c1 = arith.constant 1 : index\n"
        f"  %steps = arith.constant {steps} : index\n{loads}"
        f"  %r:{chains} = scf.for %i = %c0 to %steps step %c1 iter_args({carried}) -> ({types}) {{\n{body}"
        f"    scf.yield {', '.join(f'%n{n}' for n in each)} : {types}\n  }}\n{sums}"
        f"  vector.store %t{chains - 1}, %y[%g, %c0] : memref<{result}>, {vector}\n  return\n}}\n"
    )


def _read_kernel(name: str, elements: int, lanes: int, result: str, passes: int, pieces: int) -> str:
    """Sums up `1 / pieces` of a buffer `passes` times: a workgroup reads the piece of its number."""
    width, vector, memory = 8, f"vector<{lanes}xf32>", f"memref<{elements}xf32>"
    each = range(width)
    piece = elements // pieces
    types = ", ".join([vector] * width)
    body = "".join(
        f"      %o{n} = arith.constant {n * lanes} : index\n      %p{n} = arith.addi %i, %o{n} : index\n"
        f"      %l{n} = vector.load %x[%p{n}] : {memory}, {vector}\n"
        f"      %n{n} = arith.addf %b{n}, %l{n} : {vector}\n"
        for n in each
    )
    sums = "".join(f"  %t{n} = arith.addf %{'t' if n > 1 else 'r#'}{n - 1}, %r#{n} : {vector}\n" for n in each[1:])
    return (
        f"func.func private @{name}(%x: {memory}, %y: memref<{result}>, %g: index, %u: index, %v: index) "
        "attributes {sparsity.kernel} {\n  %c0 = arith.constant 0 : index\n  %c1 = arith.constant 1 : index\n"
        f"  %zero = arith.constant dense<0.0> : {vector}\n  %passes = arith.constant {passes} : index\n"
        f"  %step = arith.constant {lanes * width} : index\n  %piece = arith.constant {piece} : index\n"
        + ("  %first = arith.muli %g, %piece : index\n" if pieces > 1 else "  %first = arith.constant 0 : index\n")
        + f"  %last = arith.addi %first, %piece : index\n"
        f"  %r:{width} = scf.for %k = %c0 to %passes step %c1 "
        f"iter_args({', '.join(f'%a{n} = %zero' for n in each)}) -> ({types}) {{\n"
        f"    %q:{width} = scf.for %i = %first to %last step %step "
        f"iter_args({', '.join(f'%b{n} = %a{n}' for n in each)}) -> ({types}) {{\n{body}"
        f"      scf.yield {', '.join(f'%n{n}' for n in each)} : {types}\n    }}\n"
        f"    scf.yield {', '.join(f'%q#{n}' for n in each)} : {types}\n  }}\n{sums}"
        f"  vector.store %t{width - 1}, %y[%g, %c0] : memref<{result}>, {vector}\n  return\n}}\n"
    )
