// RUN: sparsity-opt %s --sparsity-fuse --check-semantics | FileCheck %s --check-prefix=DEFAULT
// RUN: sparsity-opt %s --sparsity-fuse=plan=residual=into-layer-norm --check-semantics | FileCheck %s --check-prefix=NORM
// RUN: sparsity-opt %s --sparsity-fuse=plan=residual=separate,activation=separate,qkv=merged-key-value --check-semantics --statistics=text 2>%t.err | FileCheck %s --check-prefix=APART
// RUN: FileCheck %s --check-prefix=COUNT < %t.err

// A plan chooses the variant of each fusion site; without one the variant that moves the fewest bytes is taken.

// DEFAULT-LABEL: func.func @layer
// DEFAULT-SAME: (%[[X:.*]]: tensor<1x3x4xf32>)
// DEFAULT: %[[M:.*]] = "sparsity.linear"(%[[X]], {{.*}}) {{.*}} -> tensor<1x3x12xf32>
// DEFAULT: %[[A:.*]] = "sparsity.attention"(%[[M]], %[[M]], %[[M]]) {{.*}}offsets = [0, 4, 8]
// DEFAULT: %[[G:.*]] = "sparsity.linear"(%[[A]], %{{.*}}) {activation = "gelu"
// DEFAULT: %[[S:.*]] = "sparsity.linear"(%[[G]], %{{.*}}, %[[X]]) {operandSegmentSizes = array<i32: 1, 1, 0, 1>}
// DEFAULT: "sparsity.layer_norm"(%[[S]], %[[W:.*]], %[[W]]) {{.*}}array<i32: 1, 1, 1, 0>

// NORM-LABEL: func.func @layer
// NORM-SAME: (%[[X:.*]]: tensor<1x3x4xf32>)
// NORM: %[[O:.*]] = "sparsity.linear"(%{{.*}}, %{{.*}}) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x3x4xf32>, tensor<4x4xf32>)
// NORM: "sparsity.layer_norm"(%[[O]], %[[W:.*]], %[[W]], %[[X]]) {{.*}}array<i32: 1, 1, 1, 1>

// Key and value become one linear, the query stays; its head begins at 0 of its own tensor.
// APART-LABEL: func.func @layer
// APART: %[[Q:.*]] = "sparsity.linear"
// APART: %[[KV:.*]] = "sparsity.linear"({{.*}}) {{.*}} -> tensor<1x3x8xf32>
// APART: "sparsity.attention"(%[[Q]], %[[KV]], %[[KV]]) {{.*}}offsets = [0, 0, 4]
// APART: "sparsity.activation"
// APART: "sparsity.add"
// COUNT: 0 activations-fused
// COUNT: 1 attentions-merged
// COUNT: 0 residuals-fused
func.func @layer(%x: tensor<1x3x4xf32>) -> tensor<1x3x4xf32> {
  %w = "sparsity.weight"() {source = dense<1.0> : tensor<4x4xf32>} : () -> tensor<4x4xf32>
  %v = "sparsity.weight"() {source = dense<0.5> : tensor<4x4xf32>} : () -> tensor<4x4xf32>
  %one = "sparsity.weight"() {source = dense<1.5> : tensor<4xf32>} : () -> tensor<4xf32>
  %1 = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x3x4xf32>, tensor<4x4xf32>) -> tensor<1x3x4xf32>
  %2 = "sparsity.linear"(%x, %v) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x3x4xf32>, tensor<4x4xf32>) -> tensor<1x3x4xf32>
  %3 = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x3x4xf32>, tensor<4x4xf32>) -> tensor<1x3x4xf32>
  %a = "sparsity.attention"(%1, %2, %3) {heads = 2 : i64, kv_heads = 2 : i64, scale = 1.0 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x3x4xf32>, tensor<1x3x4xf32>, tensor<1x3x4xf32>) -> tensor<1x3x4xf32>
  %h = "sparsity.linear"(%a, %v) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x3x4xf32>, tensor<4x4xf32>) -> tensor<1x3x4xf32>
  %g = "sparsity.activation"(%h) {kind = "gelu"} : (tensor<1x3x4xf32>) -> tensor<1x3x4xf32>
  %o = "sparsity.linear"(%g, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x3x4xf32>, tensor<4x4xf32>) -> tensor<1x3x4xf32>
  %s = "sparsity.add"(%o, %x) : (tensor<1x3x4xf32>, tensor<1x3x4xf32>) -> tensor<1x3x4xf32>
  %n = "sparsity.layer_norm"(%s, %one, %one) {epsilon = 1.0e-5 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x3x4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<1x3x4xf32>
  return %n : tensor<1x3x4xf32>
}
