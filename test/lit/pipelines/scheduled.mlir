// RUN: sparsity-opt %s --structural --scheduled --check-semantics | FileCheck %s
// RUN: sparsity-opt %s --structural --scheduled-token-major --check-semantics | FileCheck %s --check-prefix=TOKENS

// Level 3: one change of layout at either end, packed layers between; or token-major for the portable lowering.
// CHECK-COUNT-1: sparsity.to_panels
// CHECK: "sparsity.packed_linear"{{.*}}layout =
// CHECK: "sparsity.attention"{{.*}}layout =
// CHECK: "sparsity.packed_linear"{{.*}}activation = "gelu"{{.*}}layout =
// CHECK: "sparsity.layer_norm"{{.*}}layout =
// CHECK-COUNT-1: sparsity.from_panels
// CHECK-NOT: {{"sparsity\.}}
// TOKENS-COUNT-2: sparsity.packed_linear
// TOKENS-NOT: panels
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
