// RUN: sparsity-opt %s --portable --check-semantics | FileCheck %s

// Level 4, portable: of our ops only weights are left.
// CHECK-LABEL: func.func @main
// CHECK-NOT: "sparsity.{{linear|packed_linear|attention|layer_norm|to_panels|from_panels|dispatch}}
// CHECK: linalg.generic
// CHECK-NOT: "sparsity.{{linear|packed_linear|attention|layer_norm|to_panels|from_panels|dispatch}}
// CHECK: return
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
