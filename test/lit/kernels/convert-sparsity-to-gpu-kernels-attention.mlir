// RUN: sparsity-opt %s --convert-sparsity-to-gpu-kernels --split-input-file | FileCheck %s

// Attention is two kernels. In the first, a thread computes four queries times eight keys: a feature is one load of
// queries, two of keys, eight multiply-adds. In the second, four queries times up to eight features of a head: the
// largest score, then exponentials of four keys at a time, and their products with the values.
// CHECK: func.func private @gpu_context_2x8(%[[SCORES:[a-z0-9]+]]: memref<1x1x2x16x16xf32>, %{{[a-z0-9]+}}: memref<1x1x16x16xf32>, %{{[a-z0-9]+}}: memref<1x1x16x16xf32>
// CHECK-SAME: attributes {sparsity.kernel, sparsity.threads = array<i64: 4, 1, 1>}
// CHECK: scf.for
// CHECK: vector.load %[[SCORES]]
// CHECK: arith.maxnumf
// CHECK: scf.for
// CHECK-COUNT-4: math.exp
// CHECK-COUNT-32: vector.fma
// CHECK: scf.yield
// CHECK-COUNT-8: arith.divf
// CHECK: func.func private @gpu_scores_2x8(%[[QUERY:[a-z0-9]+]]: memref<1x1x16x16xf32>, %[[KEY:[a-z0-9]+]]: memref<1x1x16x16xf32>, %[[MASK:[a-z0-9]+]]: memref<1x16xf32>, %{{[a-z0-9]+}}: memref<1x1x2x16x16xf32>
// CHECK-SAME: attributes {sparsity.kernel, sparsity.threads = array<i64: 4, 2, 1>}
// CHECK: scf.for
// CHECK: vector.load %[[QUERY]]
// CHECK: vector.load %[[KEY]]
// CHECK-COUNT-4: vector.fma
// CHECK: vector.load %[[KEY]]
// CHECK-COUNT-4: vector.fma
// CHECK: scf.yield
// CHECK: memref.load %[[MASK]]
// CHECK-LABEL: func.func @attention
func.func @attention(%q: tensor<1x1x16x16xf32>, %k: tensor<1x1x16x16xf32>, %v: tensor<1x1x16x16xf32>, %m: tensor<1x16xf32>) -> tensor<1x1x16x16xf32> {
  // CHECK: %[[S:[0-9]+]] = "sparsity.dispatch"(%arg0, %arg1, %arg3) {grid = array<i64: 4, 2, 2>, kernel = @gpu_scores_2x8
  // CHECK: "sparsity.dispatch"(%[[S]], %arg2) {grid = array<i64: 4, 1, 2>, kernel = @gpu_context_2x8
  %0 = "sparsity.attention"(%q, %k, %v, %m) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<1x1x16x16xf32>, tensor<1x1x16x16xf32>, tensor<1x1x16x16xf32>, tensor<1x16xf32>) -> tensor<1x1x16x16xf32>
  return %0 : tensor<1x1x16x16xf32>
}

// -----

// A norm is one kernel, a token a thread; ops of one shape share it.
// CHECK: func.func private @gpu_layer_norm_8(
// CHECK-SAME: sparsity.threads = array<i64: 16, 2, 1>
// CHECK-NOT: func.func private
// CHECK-LABEL: func.func @norms
func.func @norms(%x: tensor<1x2x8x16xf32>, %w: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<1x2x8x16xf32> {
  // CHECK: "sparsity.dispatch"(%arg0, %arg1, %arg2) {grid = array<i64: 16, 2, 1>, kernel = @gpu_layer_norm_8
  %0 = "sparsity.layer_norm"(%x, %w, %b) {epsilon = 1.0e-05 : f64, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x2x8x16xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<1x2x8x16xf32>
  // CHECK: "sparsity.dispatch"{{.*}} kernel = @gpu_layer_norm_8
  %1 = "sparsity.layer_norm"(%0, %w, %b) {epsilon = 1.0e-05 : f64, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x2x8x16xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<1x2x8x16xf32>
  return %1 : tensor<1x2x8x16xf32>
}

// -----

// Token-major attention is left to the portable path.
// CHECK-LABEL: func.func @token_major
func.func @token_major(%q: tensor<1x16x16xf32>) -> tensor<1x16x16xf32> {
  // CHECK: sparsity.attention
  %0 = "sparsity.attention"(%q, %q, %q) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x16x16xf32>, tensor<1x16x16xf32>, tensor<1x16x16xf32>) -> tensor<1x16x16xf32>
  return %0 : tensor<1x16x16xf32>
}
