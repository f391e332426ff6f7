// What the pass refuses: an encoding that would drop a weight, and a weight whose array cannot be read.
// RUN: sparsity-opt %s --sparsity-detect --split-input-file --verify-diagnostics

func.func @too_many_of_four(%x: tensor<2x4xf32>) -> tensor<2x2xf32> {
  // expected-error @+1 {{'sparsity.weight' op has an encoding that its zeros do not fit: row 1 has 3 weights in columns 0 to 3, of which 2:4 keeps 2}}
  %w = "sparsity.weight"() {source = dense<[[1.0, 0.0, 0.0, 1.0], [0.0, 2.0, 3.0, 4.0]]> : tensor<2x4xf32>,
                            sparsity.encoding = #sparsity.nm<{n = 2 : i64, m = 4 : i64}>} : () -> tensor<2x4xf32>
  %y = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>}
       : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}

// -----

func.func @no_pattern(%x: tensor<2x4xf32>) -> tensor<2x2xf32> {
  // expected-error @+1 {{'sparsity.weight' op has an encoding that its zeros do not fit: no pattern covers the 2x2 tile at row 0, column 2}}
  %w = "sparsity.weight"() {source = dense<[[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]]> : tensor<2x4xf32>,
                            sparsity.encoding = #sparsity.pattern<{size = 2 : i64, patterns = [9]}>}
       : () -> tensor<2x4xf32>
  %y = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>}
       : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}

// -----

func.func @punched_matrix(%x: tensor<2x4xf32>) -> tensor<2x2xf32> {
  // expected-error @+1 {{a punched weight has dimensions [filters, channels, ...], found shape [2, 4]}}
  %w = "sparsity.weight"() {source = dense<0.0> : tensor<2x4xf32>,
                            sparsity.encoding = #sparsity.punched<{block_filters = 2 : i64, block_channels = 2 : i64}>}
       : () -> tensor<2x4xf32>
  %y = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>}
       : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}

// -----

func.func @missing(%x: tensor<2x4xf32>) -> tensor<2x2xf32> {
  // expected-error @+1 {{'sparsity.weight' op names 'query', which the weight store does not hold}}
  %w = "sparsity.weight"() {source = "query"} : () -> tensor<2x4xf32>
  %y = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>}
       : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}
