// RUN: sparsity-opt %s --sparsity-fuse --split-input-file | FileCheck %s
// RUN: sparsity-opt %s --sparsity-fuse=plan=qkv=separate --split-input-file | FileCheck %s --check-prefix=APART

// An activation and a residual become the epilogue of the linear layer that feeds them.
// CHECK-LABEL: func.func @epilogue
// CHECK-SAME: (%[[X:.*]]: tensor<1x3x4xf32>)
func.func @epilogue(%x: tensor<1x3x4xf32>) -> tensor<1x3x4xf32> {
  %w = "sparsity.weight"() {source = dense<1.0> : tensor<4x4xf32>} : () -> tensor<4x4xf32>
  // CHECK: %[[W:.*]] = "sparsity.weight"
  // CHECK: %[[H:.*]] = "sparsity.linear"(%[[X]], %[[W]]) {activation = "gelu", operandSegmentSizes = array<i32: 1, 1, 0, 0>}
  // CHECK-NOT: sparsity.activation
  %h = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x3x4xf32>, tensor<4x4xf32>) -> tensor<1x3x4xf32>
  %g = "sparsity.activation"(%h) {kind = "gelu"} : (tensor<1x3x4xf32>) -> tensor<1x3x4xf32>
  // CHECK: %[[Y:.*]] = "sparsity.linear"(%[[H]], %[[W]], %[[X]]) {operandSegmentSizes = array<i32: 1, 1, 0, 1>}
  // CHECK-NOT: sparsity.add
  %o = "sparsity.linear"(%g, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x3x4xf32>, tensor<4x4xf32>) -> tensor<1x3x4xf32>
  %s = "sparsity.add"(%x, %o) : (tensor<1x3x4xf32>, tensor<1x3x4xf32>) -> tensor<1x3x4xf32>
  // CHECK: return %[[Y]]
  return %s : tensor<1x3x4xf32>
}

// -----

// A linear layer with another reader keeps its result; the addition then joins the layer norm.
// CHECK-LABEL: func.func @shared
// CHECK-SAME: (%[[X:.*]]: tensor<3x4xf32>)
func.func @shared(%x: tensor<3x4xf32>) -> (tensor<3x4xf32>, tensor<3x4xf32>) {
  %w = "sparsity.weight"() {source = dense<1.0> : tensor<4x4xf32>} : () -> tensor<4x4xf32>
  %g = "sparsity.weight"() {source = dense<1.0> : tensor<4xf32>} : () -> tensor<4xf32>
  // CHECK: %[[H:.*]] = "sparsity.linear"(%[[X]], %{{.*}}) {operandSegmentSizes = array<i32: 1, 1, 0, 0>}
  %h = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  %s = "sparsity.add"(%h, %x) : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<3x4xf32>
  // CHECK: "sparsity.layer_norm"(%[[H]], %[[G:.*]], %[[G]], %[[X]])
  %n = "sparsity.layer_norm"(%s, %g, %g) {epsilon = 1.0e-5 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<3x4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<3x4xf32>
  return %n, %h : tensor<3x4xf32>, tensor<3x4xf32>
}

// -----

// Query, key and value with one input and equal encodings become one layer with the rows of all three.
// CHECK-LABEL: func.func @merged
// APART-LABEL: func.func @merged
func.func @merged(%x: tensor<1x3x4xf32>) -> tensor<1x3x4xf32> {
  // CHECK: %[[W:.*]] = "sparsity.weight"() {source = dense<{{\[\[}}1.000000e+00, 1.000000e+00, 1.000000e+00, 1.000000e+00], {{.*}}[3.000000e+00, 3.000000e+00, 3.000000e+00, 3.000000e+00]]> : tensor<12x4xf32>, sparsity.encoding = #sparsity.dense<{}>}
  %q = "sparsity.weight"() {source = dense<1.0> : tensor<4x4xf32>, sparsity.encoding = #sparsity.dense<{}>} : () -> tensor<4x4xf32>
  %k = "sparsity.weight"() {source = dense<2.0> : tensor<4x4xf32>, sparsity.encoding = #sparsity.dense<{}>} : () -> tensor<4x4xf32>
  %v = "sparsity.weight"() {source = dense<3.0> : tensor<4x4xf32>, sparsity.encoding = #sparsity.dense<{}>} : () -> tensor<4x4xf32>
  // CHECK: %[[M:.*]] = "sparsity.linear"(%{{.*}}, %[[W]]){{.*}} -> tensor<1x3x12xf32>
  // APART-COUNT-3: "sparsity.linear"
  %1 = "sparsity.linear"(%x, %q) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x3x4xf32>, tensor<4x4xf32>) -> tensor<1x3x4xf32>
  %2 = "sparsity.linear"(%x, %k) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x3x4xf32>, tensor<4x4xf32>) -> tensor<1x3x4xf32>
  %3 = "sparsity.linear"(%x, %v) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x3x4xf32>, tensor<4x4xf32>) -> tensor<1x3x4xf32>
  // CHECK: "sparsity.attention"(%[[M]], %[[M]], %[[M]]) {causal = false, depth = 2 : i64, heads = 2 : i64, kv_heads = 2 : i64, offsets = [0, 4, 8]
  // APART-NOT: offsets
  %a = "sparsity.attention"(%1, %2, %3) {heads = 2 : i64, kv_heads = 2 : i64, scale = 1.0 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x3x4xf32>, tensor<1x3x4xf32>, tensor<1x3x4xf32>) -> tensor<1x3x4xf32>
  return %a : tensor<1x3x4xf32>
}

// -----

// Layers with different encodings merge under the one of theirs that takes the fewest bytes, here 4x1 bands.
// CHECK-LABEL: func.func @different_encodings
// CHECK: %[[W:.*]] = "sparsity.weight"() {{.*}}#sparsity.bcr<{block_columns = 1 : i64, block_rows = 4 : i64}>} : () -> tensor<12x4xf32>
// CHECK: %[[M:.*]] = "sparsity.linear"(%{{.*}}, %[[W]])
// CHECK: "sparsity.attention"(%[[M]], %[[M]], %[[M]])
func.func @different_encodings(%x: tensor<1x3x4xf32>) -> tensor<1x3x4xf32> {
  %q = "sparsity.weight"() {source = dense<[[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]> : tensor<4x4xf32>, sparsity.encoding = #sparsity.bcr<{block_rows = 4 : i64, block_columns = 1 : i64}>} : () -> tensor<4x4xf32>
  %k = "sparsity.weight"() {source = dense<0.0> : tensor<4x4xf32>, sparsity.encoding = #sparsity.unstructured<{}>} : () -> tensor<4x4xf32>
  %1 = "sparsity.linear"(%x, %q) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x3x4xf32>, tensor<4x4xf32>) -> tensor<1x3x4xf32>
  %2 = "sparsity.linear"(%x, %k) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x3x4xf32>, tensor<4x4xf32>) -> tensor<1x3x4xf32>
  %3 = "sparsity.linear"(%x, %q) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x3x4xf32>, tensor<4x4xf32>) -> tensor<1x3x4xf32>
  %a = "sparsity.attention"(%1, %2, %3) {heads = 2 : i64, kv_heads = 2 : i64, scale = 1.0 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x3x4xf32>, tensor<1x3x4xf32>, tensor<1x3x4xf32>) -> tensor<1x3x4xf32>
  return %a : tensor<1x3x4xf32>
}

// -----

// They stay apart where that would compute and read more than it saves: dense beside a matrix of zeros.
// CHECK-LABEL: func.func @too_different
// CHECK-COUNT-3: "sparsity.linear"
// CHECK-NOT: offsets
func.func @too_different(%x: tensor<1x3x16xf32>) -> tensor<1x3x16xf32> {
  %q = "sparsity.weight"() {source = dense<1.0> : tensor<16x16xf32>, sparsity.encoding = #sparsity.dense<{}>} : () -> tensor<16x16xf32>
  %k = "sparsity.weight"() {source = dense<0.0> : tensor<16x16xf32>, sparsity.encoding = #sparsity.unstructured<{}>} : () -> tensor<16x16xf32>
  %1 = "sparsity.linear"(%x, %q) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x3x16xf32>, tensor<16x16xf32>) -> tensor<1x3x16xf32>
  %2 = "sparsity.linear"(%x, %k) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x3x16xf32>, tensor<16x16xf32>) -> tensor<1x3x16xf32>
  %3 = "sparsity.linear"(%x, %q) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x3x16xf32>, tensor<16x16xf32>) -> tensor<1x3x16xf32>
  %a = "sparsity.attention"(%1, %2, %3) {heads = 2 : i64, kv_heads = 2 : i64, scale = 1.0 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x3x16xf32>, tensor<1x3x16xf32>, tensor<1x3x16xf32>) -> tensor<1x3x16xf32>
  return %a : tensor<1x3x16xf32>
}
