// RUN: sparsity-opt %s --structural --check-semantics | FileCheck %s

// Level 2: every weight of a layer says how its zeros lie; query, key and value are one layer; the epilogues are fused.
// CHECK: sparsity.encoding
// CHECK: "sparsity.linear"{{.*}} -> tensor<1x20x24xf32>
// CHECK: "sparsity.attention"{{.*}} offsets = [0, 8, 16]
// CHECK: "sparsity.linear"{{.*}}activation = "gelu"
// CHECK-NOT: sparsity.add
// CHECK: "sparsity.layer_norm"
// CHECK-NOT: sparsity.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 32 : i64, registers = 16 : i64}>} {
func.func @main(%x: tensor<1x20x8xf32>) -> tensor<1x20x8xf32> {
  %w = "sparsity.weight"() {source = dense<[[1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0], [3.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 6.0], [0.0, 7.0, 0.0, 0.0, 0.0, 0.0, 0.0, 8.0], [1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0], [3.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 6.0], [0.0, 7.0, 0.0, 0.0, 0.0, 0.0, 0.0, 8.0]]> : tensor<8x8xf32>} : () -> tensor<8x8xf32>
  %g = "sparsity.weight"() {source = dense<1.0> : tensor<8xf32>} : () -> tensor<8xf32>
  %q = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x20x8xf32>, tensor<8x8xf32>) -> tensor<1x20x8xf32>
  %k = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x20x8xf32>, tensor<8x8xf32>) -> tensor<1x20x8xf32>
  %v = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x20x8xf32>, tensor<8x8xf32>) -> tensor<1x20x8xf32>
  %a = "sparsity.attention"(%q, %k, %v) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x20x8xf32>, tensor<1x20x8xf32>, tensor<1x20x8xf32>) -> tensor<1x20x8xf32>
  %h = "sparsity.linear"(%a, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x20x8xf32>, tensor<8x8xf32>) -> tensor<1x20x8xf32>
  %e = "sparsity.activation"(%h) {kind = "gelu"} : (tensor<1x20x8xf32>) -> tensor<1x20x8xf32>
  %s = "sparsity.add"(%e, %x) : (tensor<1x20x8xf32>, tensor<1x20x8xf32>) -> tensor<1x20x8xf32>
  %n = "sparsity.layer_norm"(%s, %g, %g) {epsilon = 1.0e-5 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x20x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<1x20x8xf32>
  return %n : tensor<1x20x8xf32>
}
}
