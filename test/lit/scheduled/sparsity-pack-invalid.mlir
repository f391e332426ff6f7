// RUN: sparsity-opt %s --sparsity-pack --split-input-file --verify-diagnostics

func.func @no_row_tile(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %w = "sparsity.weight"() {source = dense<1.0> : tensor<2x2xf32>} : () -> tensor<2x2xf32>
  // expected-error @+1 {{'sparsity.linear' op expected its schedule to have 'row_tile', found none}}
  %y = "sparsity.linear"(%x, %w) {sparsity.schedule = #sparsity.schedule<{}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}

// -----

func.func @no_permutation(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %w = "sparsity.weight"() {source = dense<1.0> : tensor<2x2xf32>} : () -> tensor<2x2xf32>
  // expected-error @+1 {{'sparsity.linear' op expected 'sparsity.order' to be a permutation of its 2 rows}}
  %y = "sparsity.linear"(%x, %w) {sparsity.order = dense<[0, 0]> : tensor<2xi32>, sparsity.schedule = #sparsity.schedule<{row_tile = 2 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}

// -----

func.func @missing(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  // expected-error @+1 {{'sparsity.weight' op names 'fc', which the weight store does not hold}}
  %w = "sparsity.weight"() {source = "fc"} : () -> tensor<2x2xf32>
  %y = "sparsity.linear"(%x, %w) {sparsity.schedule = #sparsity.schedule<{row_tile = 2 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}
