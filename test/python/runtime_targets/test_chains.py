"""Dispatches of a chain as one executable: the numbers of the single kernels, one call, refusals in one sentence."""

from pathlib import Path

import numpy as np
import pytest
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.dialects.sparsity.kernel_ops import segment_sizes
from secateur.runtime_targets import iree
from secateur.runtime_targets.targets import get_target

_TENSOR = "tensor<1x2x3x16xf32>"
_KERNELS = """
  func.func private @scaled_3(%x: memref<1x2x3x16xf32>, %w: memref<?xf32>, %y: memref<1x2x3x16xf32>,
                              %i: index, %p: index, %b: index) attributes {sparsity.kernel} {
    %c0 = arith.constant 0 : index
    %c9 = arith.constant 9 : index
    %n = memref.alloca() : memref<16xi32>
    %s = memref.alloca() : memref<300x16xf32>
    %f = memref.load %w[%i] : memref<?xf32>
    %v = vector.load %x[%b, %p, %i, %c0] : memref<1x2x3x16xf32>, vector<16xf32>
    vector.store %v, %s[%c9, %c0] : memref<300x16xf32>, vector<16xf32>
    %m = vector.bitcast %v : vector<16xf32> to vector<16xi32>
    vector.store %m, %n[%c0] : memref<16xi32>, vector<16xi32>
    %o = vector.load %n[%c0] : memref<16xi32>, vector<16xi32>
    %h = vector.load %s[%c9, %c0] : memref<300x16xf32>, vector<16xf32>
    %a = vector.bitcast %o : vector<16xi32> to vector<16xf32>
    %u = arith.addf %h, %a : vector<16xf32>
    %half = arith.constant dense<0.5> : vector<16xf32>
    %t = arith.mulf %u, %half : vector<16xf32>
    %g = vector.broadcast %f : f32 to vector<16xf32>
    %r = arith.mulf %t, %g : vector<16xf32>
    vector.store %r, %y[%b, %p, %i, %c0] : memref<1x2x3x16xf32>, vector<16xf32>
    return
  }
  func.func private @sum(%x: memref<1x2x3x16xf32>, %z: memref<1x2x3x16xf32>, %y: memref<1x2x3x16xf32>,
                         %i: index, %p: index, %b: index) attributes {sparsity.kernel} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c3 = arith.constant 3 : index
    scf.for %k = %c0 to %c3 step %c1 {
      %u = vector.load %x[%b, %p, %k, %c0] : memref<1x2x3x16xf32>, vector<16xf32>
      %v = vector.load %z[%b, %p, %k, %c0] : memref<1x2x3x16xf32>, vector<16xf32>
      %r = arith.addf %u, %v : vector<16xf32>
      vector.store %r, %y[%b, %p, %k, %c0] : memref<1x2x3x16xf32>, vector<16xf32>
    }
    return
  }
"""


def _dispatch(name: str, kernel: str, operands: str, types: str, count: int, chain: int | None) -> str:
    mark = "" if chain is None else f", sparsity.chain = {chain} : i64"
    return (
        f'%{name} = "sparsity.dispatch"({operands}) {{kernel = @{kernel}, grid = array<i64: {count}, 2, 1>, '
        f"{segment_sizes(2)}{mark}}} : ({types}) -> {_TENSOR}\n"
    )


def _module(chain: int | None, between: str = "") -> ir.Module:
    weight = '%{0} = "sparsity.weight"() {{source = "{0}"}} : () -> tensor<3xf32>\n'
    text = "module {" + _KERNELS + f"func.func @main(%x: {_TENSOR}) -> ({_TENSOR}, {_TENSOR}) {{\n"
    text += weight.format("w") + weight.format("v")
    text += _dispatch("a", "scaled_3", "%x, %w", f"{_TENSOR}, tensor<3xf32>", 3, chain)
    text += _dispatch("b", "scaled_3", "%a, %v", f"{_TENSOR}, tensor<3xf32>", 3, chain) + between
    text += _dispatch("c", "sum", "%b, %x", f"{_TENSOR}, {_TENSOR}", 1, chain)
    return ir.Module.parse(text + f"return %c, %a : {_TENSOR}, {_TENSOR}\n}}\n}}", make_context())


WEIGHTS = {"w": np.array([2, 3, 5], np.float32), "v": np.array([-1, 7, 11], np.float32)}


@pytest.mark.parametrize("threads", [1, 2])
def test_a_chain_computes_what_its_dispatches_do(threads: int, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((1, 2, 3, 16)).astype(np.float32)
    assembly = iree.assemble(_module(chain=0), WEIGHTS)
    assert assembly.text.count('"flow.dispatch"') == 1
    assert assembly.text.count('"stream.executable"()') == 1
    assert "chain_scaled_scaled_sum" in assembly.text
    # Two kernels with 19,264 bytes of scratch memory fit only if they share them.
    assert assembly.text.count('"memref.alloca"') == 1
    code = iree.compile_assembly(assembly, get_target("host-cpu"))
    iree.write_parameters(tmp_path / "weights.irpa", assembly.parameters)
    found, first = iree.Session(code, tmp_path / "weights.irpa", threads=threads).run([x])
    scaled = x * WEIGHTS["w"][:, None]
    np.testing.assert_allclose(found, scaled * WEIGHTS["v"][:, None] + x, rtol=1e-6)
    np.testing.assert_allclose(first, scaled, rtol=1e-6)


def test_without_the_attribute_every_dispatch_is_its_own() -> None:
    text = iree.assemble(_module(chain=None), WEIGHTS).text
    assert text.count('"flow.dispatch"') == 3
    assert "chain_" not in text


def test_a_reader_inside_the_chain_is_refused() -> None:
    module = _module(chain=0, between=f"%early = arith.addf %a, %a : {_TENSOR}\n")
    with pytest.raises(iree.AssemblyError, match=r"'arith.addf' op reads a result of a chain before its last dispatch"):
        iree.assemble(module, WEIGHTS)
