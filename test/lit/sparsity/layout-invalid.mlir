// RUN: sparsity-opt %s --split-input-file --verify-diagnostics

// Layouts that keep several neighbouring features together.

func.func @f(%x: tensor<1x6x6xf32>) {
  // expected-error @+1 {{expected 'inner' (4) to divide the features, found 6 of them}}
  %0 = "sparsity.to_panels"(%x) {layout = #sparsity.layout<{panel = 4 : i64, inner = 4 : i64}>} : (tensor<1x6x6xf32>) -> tensor<1x2x1x4x4xf32>
  return
}

// -----

func.func @f(%x: tensor<1x6x8xf32>) {
  // expected-error @+1 {{expected panels of shape [1, 2, 2, 4, 4], found [1, 2, 8, 4]}}
  %0 = "sparsity.to_panels"(%x) {layout = #sparsity.layout<{panel = 4 : i64, inner = 4 : i64}>} : (tensor<1x6x8xf32>) -> tensor<1x2x8x4xf32>
  return
}

// -----

func.func @f(%x: tensor<1x2x2x4x4xf32>, %w: tensor<2xf32>) {
  // expected-error @+1 {{expected weight of shape [8], found [2]}}
  %0 = "sparsity.layer_norm"(%x, %w, %w) {epsilon = 1.0e-5 : f64, layout = #sparsity.layout<{panel = 4 : i64, inner = 4 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x2x2x4x4xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x2x4x4xf32>
  return
}
