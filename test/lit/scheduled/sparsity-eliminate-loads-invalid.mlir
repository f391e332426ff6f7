// RUN: sparsity-opt %s --sparsity-eliminate-loads --verify-diagnostics

func.func @missing(%x: tensor<3x8xf32>, %rows: tensor<1x2xi32>, %work: tensor<2xi32>) -> tensor<3x2xf32> {
  // expected-error @+1 {{'sparsity.weight' op names 'fc/values', which the weight store does not hold}}
  %values = "sparsity.weight"() {source = "fc/values"} : () -> tensor<5xf32>
  %columns = "sparsity.weight"() {source = dense<[2, 5, 7, 2, 5]> : tensor<5xi32>} : () -> tensor<5xi32>
  %segments = "sparsity.weight"() {source = dense<[[[0, 3], [3, 5]]]> : tensor<1x2x2xi32>} : () -> tensor<1x2x2xi32>
  %offsets = "sparsity.weight"() {source = dense<0> : tensor<1xi32>} : () -> tensor<1xi32>
  %y = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [1, 2], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<3x8xf32>, tensor<5xf32>, tensor<5xi32>, tensor<1x2x2xi32>, tensor<1xi32>, tensor<1x2xi32>, tensor<2xi32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}
