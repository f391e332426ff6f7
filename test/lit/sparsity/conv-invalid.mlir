// What a convolution, planes and a packed convolution reject.
// RUN: sparsity-opt %s --split-input-file --verify-diagnostics

func.func @groups(%x: tensor<1x4x5xf32>, %w: tensor<3x2x1xf32>) -> tensor<1x3x5xf32> {
  // expected-error @+1 {{'sparsity.conv' op expected groups that divide 3 filters and 4 channels, 2 each, found 2}}
  %0 = "sparsity.conv"(%x, %w) {strides = [1], padding = [0, 0], dilation = [1], groups = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x4x5xf32>, tensor<3x2x1xf32>) -> tensor<1x3x5xf32>
  return %0 : tensor<1x3x5xf32>
}

// -----

func.func @strides(%x: tensor<1x2x5xf32>, %w: tensor<3x2x1xf32>) -> tensor<1x3x5xf32> {
  // expected-error @+1 {{'sparsity.conv' op expected 'strides' of 1 integers of 1 or more, found [0]}}
  %0 = "sparsity.conv"(%x, %w) {strides = [0], padding = [0, 0], dilation = [1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x2x5xf32>, tensor<3x2x1xf32>) -> tensor<1x3x5xf32>
  return %0 : tensor<1x3x5xf32>
}

// -----

func.func @kernel(%x: tensor<1x2x2xf32>, %w: tensor<3x2x5xf32>) -> tensor<1x3x1xf32> {
  // expected-error @+1 {{'sparsity.conv' op expected a kernel within the padded x [1, 2, 2], found [3, 2, 5]}}
  %0 = "sparsity.conv"(%x, %w) {strides = [1], padding = [1, 1], dilation = [1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x2x2xf32>, tensor<3x2x5xf32>) -> tensor<1x3x1xf32>
  return %0 : tensor<1x3x1xf32>
}

// -----

func.func @order(%x: tensor<1x2x5xf32>, %w: tensor<3x2x1xf32>) -> tensor<1x3x5xf32> {
  // expected-error @+1 {{'sparsity.conv' op has 'residual_first' without a residual}}
  %0 = "sparsity.conv"(%x, %w) {residual_first, strides = [1], padding = [0, 0], dilation = [1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x2x5xf32>, tensor<3x2x1xf32>) -> tensor<1x3x5xf32>
  return %0 : tensor<1x3x5xf32>
}

// -----

func.func @sizes(%x: tensor<1x2x5xf32>) -> tensor<1x2x32xf32> {
  // expected-error @+1 {{expected [batch, channels, sizes...] with the planes' sizes [6], found [1, 2, 5]}}
  %0 = "sparsity.to_planes"(%x) {planes = #sparsity.planes<{sizes = [6], pitches = [1], phases = [1], origin = 16 : i64, length = 32 : i64}>} : (tensor<1x2x5xf32>) -> tensor<1x2x32xf32>
  return %0 : tensor<1x2x32xf32>
}

// -----

func.func @length(%x: tensor<1x2x5xf32>) -> tensor<1x2x20xf32> {
  // expected-error @+1 {{expected a length above the last pixel's position 20}}
  %0 = "sparsity.to_planes"(%x) {planes = #sparsity.planes<{sizes = [5], pitches = [1], phases = [1], origin = 16 : i64, length = 20 : i64}>} : (tensor<1x2x5xf32>) -> tensor<1x2x20xf32>
  return %0 : tensor<1x2x20xf32>
}
