// RUN: sparsity-opt %s --sparsity-reorder --verify-diagnostics

// The order depends on the zeros, so the array has to be at hand.
func.func @missing(%x: tensor<3x4xf32>) -> tensor<3x4xf32> {
  // expected-error @+1 {{'sparsity.weight' op names 'fc', which the weight store does not hold}}
  %w = "sparsity.weight"() {source = "fc", sparsity.encoding = #sparsity.unstructured<{}>} : () -> tensor<4x4xf32>
  %y = "sparsity.linear"(%x, %w) {sparsity.schedule = #sparsity.schedule<{row_tile = 2 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}
