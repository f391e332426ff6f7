// RUN: sparsity-opt %s --sparsity-pack-rows --check-semantics --split-input-file | FileCheck %s
// RUN: sparsity-opt %s --sparsity-pack-rows --convert-sparsity-to-linalg --check-semantics --split-input-file | FileCheck %s --check-prefix=LINALG

// Two bands of four rows are the two vectors of one slice: at each step both have a column of their own, and their eight
// values stand together. The bias moves along; leading dimensions become tokens. In linalg the weight is whole again.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 16 : i64, registers = 32 : i64}>} {
  // CHECK-LABEL: func.func @bands
  // CHECK: %[[VALUES:.*]] = "sparsity.weight"() {source = dense<{{\[\[}}1.000000e+00, 1.000000e+00, 1.000000e+00, 1.000000e+00, 4.000000e+00, 4.000000e+00, 4.000000e+00, 4.000000e+00], {{.*}} tensor<3x8xf32>
  // CHECK: %[[COLUMNS:.*]] = "sparsity.weight"() {source = dense<{{\[\[}}0, 1], [2, 2], [5, 4]]> : tensor<3x2xi16>
  // CHECK: %[[OFFSETS:.*]] = "sparsity.weight"() {source = dense<[0, 3]> : tensor<2xi32>
  // CHECK: %[[ROWS:.*]] = "sparsity.weight"() {source = dense<{{\[\[}}0, 1, 2, 3, 4, 5, 6, 7]]> : tensor<1x8xi32>
  // CHECK: %[[WORK:.*]] = "sparsity.weight"() {source = dense<[0, 1]> : tensor<2xi32>
  // CHECK: %[[BIAS:.*]] = "sparsity.weight"() {source = {{.*}} tensor<1x8xf32>
  // CHECK: %[[X:.*]] = tensor.collapse_shape %{{.*}} : tensor<1x2x6xf32> into tensor<2x6xf32>
  // CHECK: %[[Y:.*]] = "sparsity.sliced_linear"(%[[X]], %[[VALUES]], %[[COLUMNS]], %[[OFFSETS]], %[[ROWS]], %[[WORK]], %[[BIAS]]) {activation = "gelu", consecutive = true, {{.*}}vector_rows = 4
  // CHECK: tensor.expand_shape %[[Y]] {{.*}} : tensor<2x8xf32> into tensor<1x2x8xf32>
  // LINALG-LABEL: func.func @bands
  // LINALG: "sparsity.weight"{{.*}} tensor<8x6xf32>
  // LINALG-NOT: sliced_linear
  // LINALG: linalg.generic
  func.func @bands(%x: tensor<1x2x6xf32>) -> tensor<1x2x8xf32> {
    %w = "sparsity.weight"() {source = dense<[[1.0, 0.0, 2.0, 0.0, 0.0, 3.0], [1.0, 0.0, 2.0, 0.0, 0.0, 3.0], [1.0, 0.0, 2.0, 0.0, 0.0, 3.0], [1.0, 0.0, 2.0, 0.0, 0.0, 3.0], [0.0, 4.0, 5.0, 0.0, 6.0, 0.0], [0.0, 4.0, 5.0, 0.0, 6.0, 0.0], [0.0, 4.0, 5.0, 0.0, 6.0, 0.0], [0.0, 4.0, 5.0, 0.0, 6.0, 0.0]]> : tensor<8x6xf32>} : () -> tensor<8x6xf32>
    %b = "sparsity.weight"() {source = dense<[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]> : tensor<8xf32>} : () -> tensor<8xf32>
    %y = "sparsity.linear"(%x, %w, %b) {activation = "gelu", sparsity.schedule = #sparsity.schedule<{row_vectors = 2 : i64, workgroups = 4 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x2x6xf32>, tensor<8x6xf32>, tensor<8xf32>) -> tensor<1x2x8xf32>
    return %y : tensor<1x2x8xf32>
  }
}

// -----

// Rows with nothing in common get a list each: three steps of four columns instead of twelve steps of one.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 16 : i64, registers = 32 : i64}>} {
  // CHECK-LABEL: func.func @different_rows
  // CHECK: dense<{{\[\[}}1.000000e+00, 2.000000e+00, 3.000000e+00, 4.000000e+00], [5.000000e+00, 6.000000e+00, 7.000000e+00, 0.000000e+00], [8.000000e+00, 9.000000e+00, 0.000000e+00, 0.000000e+00]]>
  // CHECK: dense<{{\[\[}}0, 1, 2, 3], [4, 5, 6, 3], [8, 9, 2, 3]]> : tensor<3x4xi16>
  // CHECK: "sparsity.sliced_linear"
  func.func @different_rows(%x: tensor<1x12xf32>) -> tensor<1x4xf32> {
    %w = "sparsity.weight"() {source = dense<[[1.0, 0.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 8.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0, 0.0, 6.0, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 7.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]> : tensor<4x12xf32>} : () -> tensor<4x12xf32>
    %y = "sparsity.linear"(%x, %w) {sparsity.schedule = #sparsity.schedule<{row_vectors = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x12xf32>, tensor<4x12xf32>) -> tensor<1x4xf32>
    return %y : tensor<1x4xf32>
  }
}

// -----

// The same where 16 lanes are looked up in two vectors: two steps share a window of 32 of the columns, as places of i8.
// The last rows have columns at both ends, and wait for a later window.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 64 : i64, registers = 32 : i64}>} {
  // CHECK-LABEL: func.func @windows
  // CHECK: %[[VALUES:.*]] = "sparsity.weight"() {{.*}} : () -> tensor<6x16xf32>
  // CHECK: %[[COLUMNS:.*]] = "sparsity.weight"() {source = dense<{{\[\[}}0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30], {{.*}}> : tensor<6x16xi8>
  // CHECK: %[[STARTS:.*]] = "sparsity.weight"() {source = dense<[0, 4, 8]> : tensor<3xi16>
  // CHECK: "sparsity.sliced_linear"({{.*}}, %[[VALUES]], %[[COLUMNS]], {{.*}}, %[[STARTS]]) {{.*}}window_steps = 2
  func.func @windows(%x: tensor<1x40xf32>) -> tensor<1x16xf32> {
    %w = "sparsity.weight"() {source = dense<[[1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, 2.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 3.0, 3.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.0, 4.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5.0, 5.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 6.0, 6.0, 0.0, 0.0, 6.0, 0.0, 0.0, 0.0, 6.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 7.0, 7.0, 0.0, 0.0, 7.0, 0.0, 0.0, 0.0, 7.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 8.0, 8.0, 0.0, 0.0, 8.0, 0.0, 0.0, 0.0, 8.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 9.0, 9.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 10.0, 10.0, 0.0, 0.0, 10.0, 0.0, 0.0, 0.0, 10.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 11.0, 11.0, 0.0, 0.0, 11.0, 0.0, 0.0, 0.0, 11.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 12.0, 12.0, 0.0, 0.0, 12.0, 0.0, 0.0, 0.0, 12.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 13.0, 13.0, 0.0, 0.0, 13.0, 0.0, 0.0, 0.0, 13.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 14.0, 14.0, 0.0, 0.0, 14.0, 0.0, 0.0, 0.0, 14.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 15.0, 15.0, 0.0, 0.0, 15.0, 0.0, 0.0, 0.0, 15.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 16.0, 16.0, 0.0, 0.0, 16.0, 0.0, 0.0, 0.0, 16.0, 0.0]]> : tensor<16x40xf32>} : () -> tensor<16x40xf32>
    %y = "sparsity.linear"(%x, %w) {sparsity.schedule = #sparsity.schedule<{row_vectors = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x40xf32>, tensor<16x40xf32>) -> tensor<1x16xf32>
    return %y : tensor<1x16xf32>
  }
}

// -----

// Without row_vectors, with a bias or a weight that is no constant: left alone. With no schedule too.
// CHECK-LABEL: func.func @left_alone
// CHECK-COUNT-4: "sparsity.linear"
// CHECK-NOT: sliced_linear
func.func @left_alone(%x: tensor<1x2xf32>, %b: tensor<4xf32>, %v: tensor<4x2xf32>) -> (tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>) {
  %w = "sparsity.weight"() {source = dense<1.0> : tensor<4x2xf32>} : () -> tensor<4x2xf32>
  %1 = "sparsity.linear"(%x, %w) {sparsity.schedule = #sparsity.schedule<{row_tile = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x2xf32>, tensor<4x2xf32>) -> tensor<1x4xf32>
  %2 = "sparsity.linear"(%x, %w, %b) {sparsity.schedule = #sparsity.schedule<{row_vectors = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x2xf32>, tensor<4x2xf32>, tensor<4xf32>) -> tensor<1x4xf32>
  %3 = "sparsity.linear"(%x, %v) {sparsity.schedule = #sparsity.schedule<{row_vectors = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x2xf32>, tensor<4x2xf32>) -> tensor<1x4xf32>
  %4 = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x2xf32>, tensor<4x2xf32>) -> tensor<1x4xf32>
  return %1, %2, %3, %4 : tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>
}
