"""The interpreter at every level of IR, against NumPy."""

import math
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.compiler.semantics.evaluation import SemanticsError, evaluate
from secateur.dialects.sparsity.kernel_ops import segment_sizes
from secateur.dialects.weight_store import WeightStore


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def run(text: str, *inputs: np.ndarray, **weights: np.ndarray) -> list[np.ndarray]:
    store = WeightStore()
    store.update(weights)
    module = ir.Module.parse(textwrap.dedent(text), make_context())
    before = str(module)
    results = evaluate(module, list(inputs), store)
    assert str(module) == before, "evaluation changed the module"
    return results


def test_structural_ops_among_linalg_and_calls() -> None:
    ids, mask, table, weight = np.array([[4, 0, 2]]), np.array([[1, 1, 0]]), normal(5, 4), normal(2, 4)
    found, bias = run(
        """
        func.func @main(%ids: tensor<1x3xi64>, %mask: tensor<1x3xi64>) -> (tensor<1x3x2xf32>, tensor<1x3xf32>) {
          %table = "sparsity.weight"() {source = "table"} : () -> tensor<5x4xf32>
          %w = "sparsity.weight"() {source = "weight"} : () -> tensor<2x4xf32>
          %x = "sparsity.embedding"(%ids, %table) {operandSegmentSizes = array<i32: 1, 1, 0>}
            : (tensor<1x3xi64>, tensor<5x4xf32>) -> tensor<1x3x4xf32>
          %d = func.call @double(%x) : (tensor<1x3x4xf32>) -> tensor<1x3x4xf32>
          %f = arith.sitofp %mask : tensor<1x3xi64> to tensor<1x3xf32>
          %one = arith.constant dense<1.0> : tensor<1x3xf32>
          %b = arith.subf %f, %one : tensor<1x3xf32>
          %y = "sparsity.linear"(%d, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>}
            : (tensor<1x3x4xf32>, tensor<2x4xf32>) -> tensor<1x3x2xf32>
          %z = math.absf %y : tensor<1x3x2xf32>
          return %z, %b : tensor<1x3x2xf32>, tensor<1x3xf32>
        }
        func.func private @double(%x: tensor<1x3x4xf32>) -> tensor<1x3x4xf32> {
          %y = "sparsity.add"(%x, %x) : (tensor<1x3x4xf32>, tensor<1x3x4xf32>) -> tensor<1x3x4xf32>
          return %y : tensor<1x3x4xf32>
        }
        """,
        ids,
        mask,
        table=table,
        weight=weight,
    )
    np.testing.assert_allclose(found, np.abs(2 * table[ids] @ weight.T), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(bias, [[0, 0, -1]])


def test_scalars_and_regions_cross_between_runs() -> None:
    x = np.array([[3.0, -1.0]], np.float32)
    # `%n` and `%x` are used by ops before and after a sparsity op, `%n` inside a region.
    found, count = run(
        """
        func.func @main(%x: tensor<1x2xf32>, %n: index) -> (tensor<1x2xf32>, index) {
          %a = arith.negf %x : tensor<1x2xf32>
          %r = "sparsity.activation"(%a) {kind = "relu"} : (tensor<1x2xf32>) -> tensor<1x2xf32>
          %m = arith.addi %n, %n : index
          %g = tensor.generate {
          ^bb0(%i: index, %j: index):
            %v = tensor.extract %r[%i, %j] : tensor<1x2xf32>
            %s = arith.index_cast %m : index to i64
            %f = arith.sitofp %s : i64 to f32
            %t = arith.addf %v, %f : f32
            tensor.yield %t : f32
          } : tensor<1x2xf32>
          return %g, %m : tensor<1x2xf32>, index
        }
        """,
        x,
        np.array(5),
    )
    np.testing.assert_array_equal(found, [[10, 11]])
    assert count.shape == ()
    assert count == 10


def test_results_that_share_memory() -> None:
    x = normal(2, 3)
    a, b, c, d = run(
        """
        func.func @main(%x: tensor<2x3xf32>) -> (tensor<2x3xf32>, tensor<6xf32>, tensor<2x3xf32>, tensor<2xf32>) {
          %a = arith.addf %x, %x : tensor<2x3xf32>
          %b = tensor.collapse_shape %a [[0, 1]] : tensor<2x3xf32> into tensor<6xf32>
          %c = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
          return %a, %b, %x, %c : tensor<2x3xf32>, tensor<6xf32>, tensor<2x3xf32>, tensor<2xf32>
        }
        """,
        x,
    )
    np.testing.assert_array_equal(a, 2 * x)
    np.testing.assert_array_equal(b, (2 * x).reshape(-1))
    np.testing.assert_array_equal(c, x)
    np.testing.assert_array_equal(d, [1, 2])


KERNEL = """
func.func private @kernel(%x: memref<2x32xf32>, %y: memref<2x32xf32>, %i: index, %j: index, %k: index)
    attributes {{sparsity.kernel}} {{
  %width = arith.constant 16 : index
  %at = arith.muli %i, %width : index
  %v = vector.load %x[%j, %at] : memref<2x32xf32>, vector<16xf32>
  %e = math.erf %v : vector<16xf32>
  %f = math.exp %e : vector<16xf32>
  vector.store %f, {target}[%j, %at] : memref<2x32xf32>, vector<16xf32>
  return
}}
func.func @main(%x: tensor<2x32xf32>) -> tensor<2x32xf32> {{
  %a = arith.addf %x, %x : tensor<2x32xf32>
  %y = "sparsity.dispatch"(%a) {{kernel = @kernel, grid = array<i64: {grid}>,
    {segments}}} : (tensor<2x32xf32>) -> tensor<2x32xf32>
  %z = arith.subf %y, %x : tensor<2x32xf32>
  return %z : tensor<2x32xf32>
}}
"""


def test_kernel_at_every_point_of_its_grid() -> None:
    x = normal(2, 32)
    (found,) = run(KERNEL.format(grid="2, 2, 1", target="%y", segments=segment_sizes(1)), x)
    expected = np.exp(np.vectorize(math.erf)(2 * x.astype(np.float64))) - x
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_what_no_workgroup_writes_is_not_a_number() -> None:
    (found,) = run(KERNEL.format(grid="1, 2, 1", target="%y", segments=segment_sizes(1)), normal(2, 32))
    assert np.isfinite(found[:, :16]).all()
    assert np.isnan(found[:, 16:]).all()


def test_kernel_of_another_number_of_results() -> None:
    text = KERNEL.format(grid="2, 2, 1", target="%y", segments=segment_sizes(1, 2))
    text = text.replace("-> tensor<2x32xf32>\n  %z", "-> (tensor<2x32xf32>, tensor<2x32xf32>)\n  %z")
    with pytest.raises(SemanticsError, match="expected kernel 'kernel' to take 3 memrefs and three indices, found"):
        run(text.replace("%y = ", "%y, %more = "), normal(2, 32))


def test_kernel_that_writes_to_its_operand() -> None:
    with pytest.raises(SemanticsError, match=r"'sparsity.dispatch' op kernel 'kernel' writes to its operand 0"):
        run(KERNEL.format(grid="2, 2, 1", target="%x", segments=segment_sizes(1)), normal(2, 32))


def test_torch_ops_around_sparsity_ops() -> None:
    x, mask, weight = normal(2, 3), np.array([[1, 0, 7], [0, 0, 2]]), normal(4, 3)
    # The list of sizes is no array, and used on both sides of the sparsity op; the literal of booleans is one
    # that torch-mlir's own path refuses.
    found, seen = run(
        """
        func.func @main(%x: !torch.vtensor<[2,3],f32>, %mask: !torch.vtensor<[2,3],si64>)
            -> (!torch.vtensor<[8],f32>, !torch.vtensor<[2,3],i1>) {
          %w = "sparsity.weight"() {source = "weight"} : () -> tensor<4x3xf32>
          %wt = torch_c.from_builtin_tensor %w : tensor<4x3xf32> -> !torch.vtensor<[4,3],f32>
          %none = torch.constant.none
          %one = torch.constant.int 1
          %eight = torch.constant.int 8
          %sizes = torch.prim.ListConstruct %eight : (!torch.int) -> !torch.list<int>
          %true = torch.vtensor.literal(dense<true> : tensor<2x3xi1>) : !torch.vtensor<[2,3],i1>
          %seen = torch.aten.logical_and %true, %mask
            : !torch.vtensor<[2,3],i1>, !torch.vtensor<[2,3],si64> -> !torch.vtensor<[2,3],i1>
          %y = torch.aten.linear %x, %wt, %none
            : !torch.vtensor<[2,3],f32>, !torch.vtensor<[4,3],f32>, !torch.none -> !torch.vtensor<[2,4],f32>
          %v = torch.aten.view %y, %sizes
            : !torch.vtensor<[2,4],f32>, !torch.list<int> -> !torch.vtensor<[8],f32>
          %t = torch_c.to_builtin_tensor %y : !torch.vtensor<[2,4],f32> -> tensor<2x4xf32>
          %r = "sparsity.activation"(%t) {kind = "relu"} : (tensor<2x4xf32>) -> tensor<2x4xf32>
          %u = torch_c.from_builtin_tensor %r : tensor<2x4xf32> -> !torch.vtensor<[2,4],f32>
          %f = torch.aten.view %u, %sizes
            : !torch.vtensor<[2,4],f32>, !torch.list<int> -> !torch.vtensor<[8],f32>
          %s = torch.aten.add.Tensor %f, %v, %one
            : !torch.vtensor<[8],f32>, !torch.vtensor<[8],f32>, !torch.int -> !torch.vtensor<[8],f32>
          return %s, %seen : !torch.vtensor<[8],f32>, !torch.vtensor<[2,3],i1>
        }
        """,
        x,
        mask,
        weight=weight,
    )
    y = (x @ weight.T).reshape(-1)
    np.testing.assert_allclose(found, y + np.maximum(y, 0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(seen, mask != 0)


IDENTITY = "func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> { return %x : tensor<2xf32> }"


@pytest.mark.parametrize(
    ("text", "inputs", "message"),
    [
        (IDENTITY, [], "'main' takes 1 inputs, found 0"),
        (IDENTITY, [np.zeros(3, np.float32)], r"expected input 0 of 'main' to be tensor<2xf32>, found float32\[3\]"),
        (IDENTITY, [np.zeros(2)], "found float64"),
        (IDENTITY.replace("@main", "@other"), [], "the module has no function 'main'"),
        ("func.func private @main(tensor<2xf32>) -> tensor<2xf32>", [np.zeros(2)], "function 'main' has no body"),
        (
            """func.func @main() -> tensor<2x2xf32> {
              %w = "sparsity.weight"() {source = "gone"} : () -> tensor<2x2xf32>
              return %w : tensor<2x2xf32>
            }""",
            [],
            "'sparsity.weight' op names 'gone', which the weight store does not hold",
        ),
    ],
)
def test_errors_name_what_is_wrong(text: str, inputs: list[np.ndarray], message: str) -> None:
    with pytest.raises(SemanticsError, match=message):
        run(text, *inputs)


def test_op_that_cannot_be_run_is_named() -> None:
    module = """
    func.func @main(%x: !torch.vtensor<[2],f32>) -> !torch.vtensor<[2],f32> {
      %y = torch.operator "torch.test.unheard_of"(%x) : (!torch.vtensor<[2],f32>) -> !torch.vtensor<[2],f32>
      return %y : !torch.vtensor<[2],f32>
    }"""
    with pytest.raises(SemanticsError, match=r"cannot run torch\.operator: .*torch\.test\.unheard_of"):
        run(module, np.zeros(2, np.float32))


def test_pytorch_is_not_imported() -> None:
    script = "import sys, secateur.compiler.semantics.evaluation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
