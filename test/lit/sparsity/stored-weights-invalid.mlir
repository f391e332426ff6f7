// RUN: sparsity-opt %s --split-input-file --verify-diagnostics

func.func @main(%x: tensor<2x6xf32>, %v: tensor<5x8xi8>, %c: tensor<5x1xi16>, %o: tensor<3xi32>, %r: tensor<2x8xi32>, %w: tensor<2xi32>) -> tensor<2x16xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected slice_scales beside values of i8, found none}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w) {vector_rows = 4 : i64, consecutive = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0>} : (tensor<2x6xf32>, tensor<5x8xi8>, tensor<5x1xi16>, tensor<3xi32>, tensor<2x8xi32>, tensor<2xi32>) -> tensor<2x16xf32>
  return %y : tensor<2x16xf32>
}

// -----

func.func @main(%x: tensor<2x6xf32>, %v: tensor<5x8xi8>, %c: tensor<5x1xi16>, %o: tensor<3xi32>, %r: tensor<2x8xi32>, %w: tensor<2xi32>, %s: tensor<16xf32>) -> tensor<2x16xf32> {
  // expected-error @+1 {{'sparsity.sliced_linear' op expected slice_scales of shape [2, 8] and f32, found tensor<16xf32>}}
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w, %s) {vector_rows = 4 : i64, consecutive = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 1, 0, 0>} : (tensor<2x6xf32>, tensor<5x8xi8>, tensor<5x1xi16>, tensor<3xi32>, tensor<2x8xi32>, tensor<2xi32>, tensor<16xf32>) -> tensor<2x16xf32>
  return %y : tensor<2x16xf32>
}

// -----

func.func @main(%x: tensor<5x8xf32>, %v: tensor<22xf16>, %c: tensor<3xi32>, %s: tensor<2x1x2xi32>, %o: tensor<2xi32>, %r: tensor<2x2xi32>, %w: tensor<2xi32>, %q: tensor<4xf32>) -> tensor<5x4xf32> {
  // expected-error @+1 {{'sparsity.packed_linear' op expected scales beside values of i8 only, found values of f16}}
  %y = "sparsity.packed_linear"(%x, %v, %c, %s, %o, %r, %w, %q) {row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 1>} : (tensor<5x8xf32>, tensor<22xf16>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>, tensor<4xf32>) -> tensor<5x4xf32>
  return %y : tensor<5x4xf32>
}

// -----

func.func @main(%x: tensor<5x8xf32>, %v: tensor<22xf64>, %c: tensor<3xi32>, %s: tensor<2x1x2xi32>, %o: tensor<2xi32>, %r: tensor<2x2xi32>, %w: tensor<2xi32>) -> tensor<5x4xf32> {
  // expected-error @+1 {{'sparsity.packed_linear' op expected values of f32, f16 or i8, found f64}}
  %y = "sparsity.packed_linear"(%x, %v, %c, %s, %o, %r, %w) {row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<5x8xf32>, tensor<22xf64>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<5x4xf32>
  return %y : tensor<5x4xf32>
}

// -----

func.func @main(%x: tensor<5x8xf32>, %v: tensor<22xi8>, %c: tensor<3xi32>, %s: tensor<2x1x2xi32>, %o: tensor<2xi32>, %r: tensor<2x2xi32>, %w: tensor<2xi32>, %q: tensor<4xf16>) -> tensor<5x4xf32> {
  // expected-error @+1 {{'sparsity.packed_linear' op expected scales of shape [4] and f32, found tensor<4xf16>}}
  %y = "sparsity.packed_linear"(%x, %v, %c, %s, %o, %r, %w, %q) {row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 1>} : (tensor<5x8xf32>, tensor<22xi8>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>, tensor<4xf16>) -> tensor<5x4xf32>
  return %y : tensor<5x4xf32>
}

// -----

func.func @main(%ids: tensor<1x6xi64>, %t: tensor<3x2xi8>) -> tensor<1x6x2xf32> {
  // expected-error @+1 {{'sparsity.embedding' op expected scales beside table of i8, found none}}
  %x = "sparsity.embedding"(%ids, %t) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x6xi64>, tensor<3x2xi8>) -> tensor<1x6x2xf32>
  return %x : tensor<1x6x2xf32>
}

// -----

func.func @main(%ids: tensor<1x6xi64>, %t: tensor<3x2xf32>) -> tensor<1x6x2xf16> {
  // expected-error @+1 {{'sparsity.embedding' op expected a result of f32 from a table of f32, found f16}}
  %x = "sparsity.embedding"(%ids, %t) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x6xi64>, tensor<3x2xf32>) -> tensor<1x6x2xf16>
  return %x : tensor<1x6x2xf16>
}

// -----

func.func @main(%x: tensor<5x8xf32>, %v: tensor<6xf32>, %c: tensor<3xi32>, %s: tensor<2x1x2xi32>, %o: tensor<2xi32>, %r: tensor<2x2xi32>, %w: tensor<2xi32>) -> tensor<5x4xf32> {
  // expected-error @+1 {{'sparsity.packed_linear' op expected values of f16 beside 'sparsity.half_sums', found f32}}
  %y = "sparsity.packed_linear"(%x, %v, %c, %s, %o, %r, %w) {sparsity.half_sums = 8 : i64, row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<5x8xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<5x4xf32>
  return %y : tensor<5x4xf32>
}

// -----

func.func @main(%x: tensor<5x8xf32>, %v: tensor<22xf16>, %c: tensor<3xi32>, %s: tensor<2x1x2xi32>, %o: tensor<2xi32>, %r: tensor<2x2xi32>, %w: tensor<2xi32>) -> tensor<5x4xf32> {
  // expected-error @+1 {{'sparsity.packed_linear' op expected 'sparsity.half_sums' to be a positive integer, found 0}}
  %y = "sparsity.packed_linear"(%x, %v, %c, %s, %o, %r, %w) {sparsity.half_sums = 0 : i64, row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<5x8xf32>, tensor<22xf16>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<5x4xf32>
  return %y : tensor<5x4xf32>
}
