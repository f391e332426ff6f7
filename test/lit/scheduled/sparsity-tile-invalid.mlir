// RUN: sparsity-opt %s --sparsity-tile --verify-diagnostics

func.func @missing(%x: tensor<3x8xf32>, %values: tensor<5xf32>, %columns: tensor<5xi32>, %offsets: tensor<1xi32>, %rows: tensor<1x2xi32>) -> tensor<3x2xf32> {
  // expected-error @+1 {{'sparsity.weight' op names 'fc/segments', which the weight store does not hold}}
  %segments = "sparsity.weight"() {source = "fc/segments"} : () -> tensor<1x2x2xi32>
  %work = "sparsity.weight"() {source = dense<[0, 1]> : tensor<2xi32>} : () -> tensor<2xi32>
  %y = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {sparsity.schedule = #sparsity.schedule<{workgroups = 2 : i64}>, row_tile = 2 : i64, row_masks = [1, 2], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<3x8xf32>, tensor<5xf32>, tensor<5xi32>, tensor<1x2x2xi32>, tensor<1xi32>, tensor<1x2xi32>, tensor<2xi32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}
