// RUN: sparsity-opt %s --convert-sparsity-to-linalg --split-input-file --verify-diagnostics
// RUN: sparsity-opt %s --convert-sparsity-to-kernels --convert-sparsity-to-linalg --split-input-file --verify-diagnostics

func.func @f64(%x: tensor<3x4xf64>) -> tensor<3x4xf64> {
  // expected-error @+1 {{'sparsity.activation' op expected f32, found f64}}
  %y = "sparsity.activation"(%x) {kind = "relu"} : (tensor<3x4xf64>) -> tensor<3x4xf64>
  return %y : tensor<3x4xf64>
}

// -----

func.func @computed(%x: tensor<3x8xf32>, %values: tensor<5xf32>, %columns: tensor<5xi32>, %segments: tensor<1x2x2xi32>, %offsets: tensor<1xi32>, %rows: tensor<1x2xi32>, %work: tensor<2xi32>) -> tensor<3x2xf32> {
  // expected-error @+1 {{'sparsity.packed_linear' op expected its values to be a 'sparsity.weight'}}
  %y = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [1, 2], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<3x8xf32>, tensor<5xf32>, tensor<5xi32>, tensor<1x2x2xi32>, tensor<1xi32>, tensor<1x2xi32>, tensor<2xi32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}

// -----

func.func @inner(%x: tensor<1x6x8xf32>) -> tensor<1x2x2x4x4xf32> {
  // expected-error @+1 {{'sparsity.to_panels' op expected a layout with inner = 1, found inner = 4}}
  %y = "sparsity.to_panels"(%x) {layout = #sparsity.layout<{panel = 4 : i64, inner = 4 : i64}>} : (tensor<1x6x8xf32>) -> tensor<1x2x2x4x4xf32>
  return %y : tensor<1x2x2x4x4xf32>
}

// -----

// Kernels leave such an op to this pass.
func.func @inner_activation(%x: tensor<1x2x2x16x4xf32>) -> tensor<1x2x2x16x4xf32> {
  // expected-error @+1 {{'sparsity.activation' op expected a layout with inner = 1, found inner = 4}}
  %y = "sparsity.activation"(%x) {kind = "relu", layout = #sparsity.layout<{panel = 16 : i64, inner = 4 : i64}>} : (tensor<1x2x2x16x4xf32>) -> tensor<1x2x2x16x4xf32>
  return %y : tensor<1x2x2x16x4xf32>
}
