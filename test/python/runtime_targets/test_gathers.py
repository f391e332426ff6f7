"""Gathers reach IREE in the form that becomes a gather instruction, and mean the same."""

import numpy as np
import pytest
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.dialects.sparsity.kernel_ops import segment_sizes
from secateur.runtime_targets import get_target
from secateur.runtime_targets.iree import Session, assemble, compile_assembly

KERNEL = """
func.func private @pick(%x: memref<3x{features}xf32>, %at: memref<{lanes}xi32>, %keep: memref<{lanes}xi32>,
    %y: memref<3x{lanes}xf32>, %row: index, %b: index, %c: index) attributes {{sparsity.kernel}} {{
  %c0 = arith.constant 0 : index
  %features = arith.constant {features} : index
  %zero = arith.constant dense<0> : vector<{lanes}xi32>
  %other = arith.constant dense<-1.0> : vector<{lanes}xf32>
  %flat = memref.collapse_shape %x [[0, 1]] : memref<3x{features}xf32> into memref<{size}xf32>
  %first = arith.muli %row, %features : index
  %columns = vector.load %at[%c0] : memref<{lanes}xi32>, vector<{lanes}xi32>
  %kept = vector.load %keep[%c0] : memref<{lanes}xi32>, vector<{lanes}xi32>
  %mask = arith.cmpi ne, %kept, %zero : vector<{lanes}xi32>
  %v = vector.gather %flat[%first] [%columns], %mask, %other : memref<{size}xf32>, vector<{lanes}xi32>,
    vector<{lanes}xi1>, vector<{lanes}xf32> into vector<{lanes}xf32>
  vector.store %v, %y[%row, %c0] : memref<3x{lanes}xf32>, vector<{lanes}xf32>
  return
}}
func.func @main(%x: tensor<3x{features}xf32>, %at: tensor<{lanes}xi32>, %keep: tensor<{lanes}xi32>)
    -> tensor<3x{lanes}xf32> {{
  %y = "sparsity.dispatch"(%x, %at, %keep) {{kernel = @pick, grid = array<i64: 3, 1, 1>,
    {segments}}}
    : (tensor<3x{features}xf32>, tensor<{lanes}xi32>, tensor<{lanes}xi32>) -> tensor<3x{lanes}xf32>
  return %y : tensor<3x{lanes}xf32>
}}
"""


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_lanes_with_a_mask(lanes):
    features = 37
    with make_context(), ir.Location.unknown():
        module = ir.Module.parse(
            KERNEL.format(features=features, lanes=lanes, size=3 * features, segments=segment_sizes(3))
        )
        assembly = assemble(module, {})
        assert "vector.gather" in str(module)
    assert "vector.gather" not in assembly.text
    assert assembly.text.count("llvm.intr.masked.gather") == 1
    rng = np.random.default_rng(lanes)
    x = rng.standard_normal((3, features)).astype(np.float32)
    at, keep = (rng.integers(0, end, lanes).astype(np.int32) for end in (features, 2))
    (found,) = Session(compile_assembly(assembly, get_target("host-cpu", workers=1))).run([x, at, keep])
    np.testing.assert_array_equal(found, np.where(keep, x[:, at], np.float32(-1)))
