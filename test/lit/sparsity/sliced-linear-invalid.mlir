// RUN: sparsity-opt %s --split-input-file --verify-diagnostics

func.func @main(%x: tensor<2x6xf32>, %v: tensor<5x8xf32>, %c: tensor<5x1xi16>, %o: tensor<3xi32>, %r: tensor<2x8xi32>, %w: tensor<2xi32>) -> tensor<3x16xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected x and result [tokens, features] of equal tokens, found [2, 6] and [3, 16]}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w) {vector_rows = 4 : i64, consecutive = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0>} : (tensor<2x6xf32>, tensor<5x8xf32>, tensor<5x1xi16>, tensor<3xi32>, tensor<2x8xi32>, tensor<2xi32>) -> tensor<3x16xf32>
  return %y : tensor<3x16xf32>
}

// -----

func.func @main(%x: tensor<1x2x6xf32>, %v: tensor<5x8xf32>, %c: tensor<5x1xi16>, %o: tensor<3xi32>, %r: tensor<2x8xi32>, %w: tensor<2xi32>) -> tensor<1x2x16xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected x and result [tokens, features] of equal tokens, found [1, 2, 6] and [1, 2, 16]}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w) {vector_rows = 4 : i64, consecutive = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0>} : (tensor<1x2x6xf32>, tensor<5x8xf32>, tensor<5x1xi16>, tensor<3xi32>, tensor<2x8xi32>, tensor<2xi32>) -> tensor<1x2x16xf32>
  return %y : tensor<1x2x16xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<40xf32>, %c: tensor<5x1xi16>, %o: tensor<3xi32>, %r: tensor<2x8xi32>, %w: tensor<2xi32>) -> tensor<2x16xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected values [steps, height], found [40]}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w) {vector_rows = 4 : i64, consecutive = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0>} : (tensor<2x6xf32>, tensor<40xf32>, tensor<5x1xi16>, tensor<3xi32>, tensor<2x8xi32>, tensor<2xi32>) -> tensor<2x16xf32>
  return %y : tensor<2x16xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<5x8xf32>, %c: tensor<5x3xi16>, %o: tensor<3xi32>, %r: tensor<2x8xi32>, %w: tensor<2xi32>) -> tensor<2x16xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected columns [5, a divisor of 8], found [5, 3]}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w) {vector_rows = 4 : i64, consecutive = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0>} : (tensor<2x6xf32>, tensor<5x8xf32>, tensor<5x3xi16>, tensor<3xi32>, tensor<2x8xi32>, tensor<2xi32>) -> tensor<2x16xf32>
  return %y : tensor<2x16xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<5x8xf32>, %c: tensor<4x1xi16>, %o: tensor<3xi32>, %r: tensor<2x8xi32>, %w: tensor<2xi32>) -> tensor<2x16xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected columns [5, a divisor of 8], found [4, 1]}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w) {vector_rows = 4 : i64, consecutive = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0>} : (tensor<2x6xf32>, tensor<5x8xf32>, tensor<4x1xi16>, tensor<3xi32>, tensor<2x8xi32>, tensor<2xi32>) -> tensor<2x16xf32>
  return %y : tensor<2x16xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<5x8xf32>, %c: tensor<5x1xi64>, %o: tensor<3xi32>, %r: tensor<2x8xi32>, %w: tensor<2xi32>) -> tensor<2x16xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected columns of i16 or i32, found i64}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w) {vector_rows = 4 : i64, consecutive = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0>} : (tensor<2x6xf32>, tensor<5x8xf32>, tensor<5x1xi64>, tensor<3xi32>, tensor<2x8xi32>, tensor<2xi32>) -> tensor<2x16xf32>
  return %y : tensor<2x16xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<5x8xf32>, %c: tensor<5x1xi16>, %o: tensor<3xi32>, %r: tensor<2x8xi32>, %w: tensor<2xi32>) -> tensor<2x16xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected vector_rows to divide the 8 rows that share a list or a slice, found 3}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w) {vector_rows = 3 : i64, consecutive = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0>} : (tensor<2x6xf32>, tensor<5x8xf32>, tensor<5x1xi16>, tensor<3xi32>, tensor<2x8xi32>, tensor<2xi32>) -> tensor<2x16xf32>
  return %y : tensor<2x16xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<5x8xf32>, %c: tensor<5x2xi16>, %o: tensor<3xi32>, %r: tensor<2x8xi32>, %w: tensor<2xi32>) -> tensor<2x16xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected vector_rows to divide the 4 rows that share a list or a slice, found 8}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w) {vector_rows = 8 : i64, consecutive = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0>} : (tensor<2x6xf32>, tensor<5x8xf32>, tensor<5x2xi16>, tensor<3xi32>, tensor<2x8xi32>, tensor<2xi32>) -> tensor<2x16xf32>
  return %y : tensor<2x16xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<5x8xf32>, %c: tensor<5x1xi16>, %o: tensor<3xi32>, %r: tensor<2x8xi32>, %w: tensor<2xi32>) -> tensor<2x16xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected 'consecutive' to be a bool, found 1 : i64}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w) {vector_rows = 4 : i64, consecutive = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0>} : (tensor<2x6xf32>, tensor<5x8xf32>, tensor<5x1xi16>, tensor<3xi32>, tensor<2x8xi32>, tensor<2xi32>) -> tensor<2x16xf32>
  return %y : tensor<2x16xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<5x8xf32>, %c: tensor<5x1xi16>, %o: tensor<3xi32>, %r: tensor<2x4xi32>, %w: tensor<2xi32>) -> tensor<2x16xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected rows [slices, 8], found [2, 4]}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w) {vector_rows = 4 : i64, consecutive = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0>} : (tensor<2x6xf32>, tensor<5x8xf32>, tensor<5x1xi16>, tensor<3xi32>, tensor<2x4xi32>, tensor<2xi32>) -> tensor<2x16xf32>
  return %y : tensor<2x16xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<5x8xf32>, %c: tensor<5x1xi16>, %o: tensor<3xi32>, %r: tensor<2x8xi16>, %w: tensor<2xi32>) -> tensor<2x16xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected rows of i32, found i16}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w) {vector_rows = 4 : i64, consecutive = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0>} : (tensor<2x6xf32>, tensor<5x8xf32>, tensor<5x1xi16>, tensor<3xi32>, tensor<2x8xi16>, tensor<2xi32>) -> tensor<2x16xf32>
  return %y : tensor<2x16xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<5x8xf32>, %c: tensor<5x1xi16>, %o: tensor<2xi32>, %r: tensor<2x8xi32>, %w: tensor<2xi32>) -> tensor<2x16xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected offsets of shape [3], found [2]}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w) {vector_rows = 4 : i64, consecutive = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0>} : (tensor<2x6xf32>, tensor<5x8xf32>, tensor<5x1xi16>, tensor<2xi32>, tensor<2x8xi32>, tensor<2xi32>) -> tensor<2x16xf32>
  return %y : tensor<2x16xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<5x8xf32>, %c: tensor<5x1xi16>, %o: tensor<3xi32>, %r: tensor<2x8xi32>, %w: tensor<1xi32>) -> tensor<2x16xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected work [workgroups + 1], found [1]}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w) {vector_rows = 4 : i64, consecutive = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0>} : (tensor<2x6xf32>, tensor<5x8xf32>, tensor<5x1xi16>, tensor<3xi32>, tensor<2x8xi32>, tensor<1xi32>) -> tensor<2x16xf32>
  return %y : tensor<2x16xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<5x8xf32>, %c: tensor<5x1xi16>, %o: tensor<3xi32>, %r: tensor<2x8xi32>, %w: tensor<2xi32>, %b: tensor<16xf32>) -> tensor<2x16xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected slice_bias of shape [2, 8], found [16]}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w, %b) {vector_rows = 4 : i64, consecutive = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0>} : (tensor<2x6xf32>, tensor<5x8xf32>, tensor<5x1xi16>, tensor<3xi32>, tensor<2x8xi32>, tensor<2xi32>, tensor<16xf32>) -> tensor<2x16xf32>
  return %y : tensor<2x16xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<5x8xf32>, %c: tensor<5x1xi16>, %o: tensor<3xi32>, %r: tensor<2x8xi32>, %w: tensor<2xi32>, %h: tensor<2x6xf32>) -> tensor<2x16xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected the residual to have the result's type tensor<2x16xf32>, found tensor<2x6xf32>}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w, %h) {vector_rows = 4 : i64, consecutive = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0>} : (tensor<2x6xf32>, tensor<5x8xf32>, tensor<5x1xi16>, tensor<3xi32>, tensor<2x8xi32>, tensor<2xi32>, tensor<2x6xf32>) -> tensor<2x16xf32>
  return %y : tensor<2x16xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<5x8xf32>, %c: tensor<5x1xi16>, %o: tensor<3xi32>, %r: tensor<2x8xi32>, %w: tensor<2xi32>) -> tensor<2x16xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected an activation among}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w) {vector_rows = 4 : i64, consecutive = true, activation = "sine", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0>} : (tensor<2x6xf32>, tensor<5x8xf32>, tensor<5x1xi16>, tensor<3xi32>, tensor<2x8xi32>, tensor<2xi32>) -> tensor<2x16xf32>
  return %y : tensor<2x16xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<5x8xf32>, %c: tensor<5x1xi16>, %o: tensor<3xi32>, %r: tensor<2x8xi32>, %w: tensor<2xi32>) -> tensor<2x16xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op unknown field 'rows' of #sparsity.schedule}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w) {vector_rows = 4 : i64, consecutive = true, sparsity.schedule = #sparsity.schedule<{rows = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0>} : (tensor<2x6xf32>, tensor<5x8xf32>, tensor<5x1xi16>, tensor<3xi32>, tensor<2x8xi32>, tensor<2xi32>) -> tensor<2x16xf32>
  return %y : tensor<2x16xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<4x4xf32>, %c: tensor<4x4xi16>, %o: tensor<3xi32>, %r: tensor<2x4xi32>, %w: tensor<2xi32>, %s: tensor<2xi16>, %p: tensor<8xi16>) -> tensor<2x8xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected columns of i8, found i16}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w, %s, %p) {vector_rows = 4 : i64, consecutive = true, window_steps = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1>} : (tensor<2x6xf32>, tensor<4x4xf32>, tensor<4x4xi16>, tensor<3xi32>, tensor<2x4xi32>, tensor<2xi32>, tensor<2xi16>, tensor<8xi16>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<4x4xf32>, %c: tensor<4x4xi8>, %o: tensor<3xi32>, %r: tensor<2x4xi32>, %w: tensor<2xi32>, %s: tensor<2xi8>, %p: tensor<8xi16>) -> tensor<2x8xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected starts of i16 or i32, found i8}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w, %s, %p) {vector_rows = 4 : i64, consecutive = true, window_steps = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1>} : (tensor<2x6xf32>, tensor<4x4xf32>, tensor<4x4xi8>, tensor<3xi32>, tensor<2x4xi32>, tensor<2xi32>, tensor<2xi8>, tensor<8xi16>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<4x4xf32>, %c: tensor<4x4xi8>, %o: tensor<3xi32>, %r: tensor<2x4xi32>, %w: tensor<2xi32>, %s: tensor<2xi16>, %p: tensor<8xi64>) -> tensor<2x8xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected order of i16 or i32, found i64}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w, %s, %p) {vector_rows = 4 : i64, consecutive = true, window_steps = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1>} : (tensor<2x6xf32>, tensor<4x4xf32>, tensor<4x4xi8>, tensor<3xi32>, tensor<2x4xi32>, tensor<2xi32>, tensor<2xi16>, tensor<8xi64>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<4x4xf32>, %c: tensor<4x4xi8>, %o: tensor<3xi32>, %r: tensor<2x4xi32>, %w: tensor<2xi32>, %s: tensor<3xi16>, %p: tensor<8xi16>) -> tensor<2x8xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected starts of windows of 'window_steps' = 2 steps for 4 steps, found [3]}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w, %s, %p) {vector_rows = 4 : i64, consecutive = true, window_steps = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1>} : (tensor<2x6xf32>, tensor<4x4xf32>, tensor<4x4xi8>, tensor<3xi32>, tensor<2x4xi32>, tensor<2xi32>, tensor<3xi16>, tensor<8xi16>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<4x4xf32>, %c: tensor<4x4xi8>, %o: tensor<3xi32>, %r: tensor<2x4xi32>, %w: tensor<2xi32>, %s: tensor<2xi16>, %p: tensor<8xi16>) -> tensor<2x8xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected starts of windows of 'window_steps' = 0 steps for 4 steps, found [2]}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w, %s, %p) {vector_rows = 4 : i64, consecutive = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1>} : (tensor<2x6xf32>, tensor<4x4xf32>, tensor<4x4xi8>, tensor<3xi32>, tensor<2x4xi32>, tensor<2xi32>, tensor<2xi16>, tensor<8xi16>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<4x4xf32>, %c: tensor<4x1xi8>, %o: tensor<3xi32>, %r: tensor<2x4xi32>, %w: tensor<2xi32>, %s: tensor<2xi16>, %p: tensor<8xi16>) -> tensor<2x8xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected a list for each of 4 rows beside starts, found 1}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w, %s, %p) {vector_rows = 4 : i64, consecutive = true, window_steps = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1>} : (tensor<2x6xf32>, tensor<4x4xf32>, tensor<4x1xi8>, tensor<3xi32>, tensor<2x4xi32>, tensor<2xi32>, tensor<2xi16>, tensor<8xi16>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<4x4xf32>, %c: tensor<4x4xi8>, %o: tensor<3xi32>, %r: tensor<2x4xi32>, %w: tensor<2xi32>, %s: tensor<2xi16>, %p: tensor<7xi16>) -> tensor<2x8xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected 8 places or more for windows of 8, found [7]}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w, %s, %p) {vector_rows = 4 : i64, consecutive = true, window_steps = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1>} : (tensor<2x6xf32>, tensor<4x4xf32>, tensor<4x4xi8>, tensor<3xi32>, tensor<2x4xi32>, tensor<2xi32>, tensor<2xi16>, tensor<7xi16>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<4x4xf32>, %c: tensor<4x4xi8>, %o: tensor<3xi32>, %r: tensor<2x4xi32>, %w: tensor<2xi32>, %s: tensor<2xi16>) -> tensor<2x8xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected 8 places or more for windows of 8, found [6]}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w, %s) {vector_rows = 4 : i64, consecutive = true, window_steps = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 0>} : (tensor<2x6xf32>, tensor<4x4xf32>, tensor<4x4xi8>, tensor<3xi32>, tensor<2x4xi32>, tensor<2xi32>, tensor<2xi16>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<4x4xf32>, %c: tensor<4x4xi16>, %o: tensor<3xi32>, %r: tensor<2x4xi32>, %w: tensor<2xi32>, %p: tensor<8xi16>) -> tensor<2x8xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected starts beside an order, found none}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w, %p) {vector_rows = 4 : i64, consecutive = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1>} : (tensor<2x6xf32>, tensor<4x4xf32>, tensor<4x4xi16>, tensor<3xi32>, tensor<2x4xi32>, tensor<2xi32>, tensor<8xi16>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<4x4xf32>, %c: tensor<4x4xi16>, %o: tensor<3xi32>, %r: tensor<2x4xi32>, %w: tensor<2xi32>) -> tensor<2x8xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected starts beside 'window_steps', found none}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w) {vector_rows = 4 : i64, consecutive = true, window_steps = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0>} : (tensor<2x6xf32>, tensor<4x4xf32>, tensor<4x4xi16>, tensor<3xi32>, tensor<2x4xi32>, tensor<2xi32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}
