// RUN: sparsity-opt %s --convert-sparsity-to-gpu-kernels --split-input-file | FileCheck %s

// Attention is one kernel. A thread computes four queries times eight keys (a feature is one load of queries, two of
// keys, eight multiply-adds) and leaves exponentials to its workgroup; behind a barrier, four queries times eight
// features of a head with all of them. Here, a thread has both of two rounds of keys, and a head is one piece.
// CHECK: func.func private @gpu_attention_2x8(%[[QUERY:[a-z0-9]+]]: memref<1x1x16x16xf32>, %[[KEY:[a-z0-9]+]]: memref<1x1x16x16xf32>, %[[VALUE:[a-z0-9]+]]: memref<1x1x16x16xf32>, %[[MASK:[a-z0-9]+]]: memref<1x16xf32>, %[[RESULT:[a-z0-9]+]]: memref<1x1x16x16xf32>
// CHECK-SAME: attributes {sparsity.kernel, sparsity.threads = array<i64: 4, 1, 1>}
// CHECK: %[[POWERS:[a-z0-9_]+]] = memref.alloc() : memref<16x4xvector<4xf32>, #gpu.address_space<workgroup>>
// CHECK-COUNT-2: memref.alloc() : memref<2x4xvector<4xf32>, #gpu.address_space<workgroup>>
// CHECK: scf.for
// CHECK: scf.for
// CHECK: vector.load %[[QUERY]]
// CHECK: vector.load %[[KEY]]
// CHECK-COUNT-4: vector.fma
// CHECK: vector.load %[[KEY]]
// CHECK-COUNT-4: vector.fma
// CHECK: scf.yield
// CHECK: memref.load %[[MASK]]
// CHECK-COUNT-8: math.exp
// CHECK: gpu.barrier
// CHECK: scf.for
// CHECK-COUNT-4: memref.load %[[POWERS]]
// CHECK-COUNT-32: vector.fma
// CHECK-NOT: gpu.barrier
// CHECK-COUNT-8: vector.store {{.*}}, %[[RESULT]]
// CHECK-LABEL: func.func @attention
func.func @attention(%q: tensor<1x1x16x16xf32>, %k: tensor<1x1x16x16xf32>, %v: tensor<1x1x16x16xf32>, %m: tensor<1x16xf32>) -> tensor<1x1x16x16xf32> {
  // CHECK: "sparsity.dispatch"(%arg0, %arg1, %arg2, %arg3) {grid = array<i64: 4, 2, 1>, kernel = @gpu_attention_2x8
  %0 = "sparsity.attention"(%q, %k, %v, %m) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<1x1x16x16xf32>, tensor<1x1x16x16xf32>, tensor<1x1x16x16xf32>, tensor<1x16xf32>) -> tensor<1x1x16x16xf32>
  return %0 : tensor<1x1x16x16xf32>
}

// -----

// More keys than fit the workgroup's memory (128 of 16 queries) come in tiles; a barrier stands before the next one, and
// the last one is cut off. What was summed up with a smaller largest score is scaled. Few tiles follow each other.
// CHECK: func.func private @gpu_attention_1x32(
// CHECK-SAME: sparsity.threads = array<i64: 16, 1, 1>
// CHECK: memref.alloc() : memref<128x4xvector<4xf32>
// CHECK-NOT: scf.if
// CHECK-COUNT-2: gpu.barrier
// CHECK: scf.for
// CHECK: scf.if
// CHECK: gpu.barrier
// CHECK: math.exp
// CHECK-COUNT-9: arith.mulf
// CHECK-NOT: gpu.barrier
// CHECK-LABEL: func.func @tiles
func.func @tiles(%q: tensor<1x3x32x64xf32>) -> tensor<1x3x32x64xf32> {
  // CHECK: grid = array<i64: 64, 3, 1>
  %0 = "sparsity.attention"(%q, %q, %q) {heads = 1 : i64, kv_heads = 1 : i64, scale = 0.5 : f64, causal = false, layout = #sparsity.layout<{panel = 64 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x3x32x64xf32>, tensor<1x3x32x64xf32>, tensor<1x3x32x64xf32>) -> tensor<1x3x32x64xf32>
  return %0 : tensor<1x3x32x64xf32>
}

// -----

// Many are a loop.
// CHECK: func.func private @gpu_attention_1x32(
// CHECK: scf.for %[[FIRST:[a-z0-9]+]] = {{.*}} iter_args({{.*}}, {{.*}}, {{.*}}, {{.*}}, {{.*}}, {{.*}}, {{.*}}, {{.*}}, {{.*}}, {{.*}})
// CHECK-NOT: scf.if
// CHECK-COUNT-2: gpu.barrier
// CHECK-NEXT: scf.yield
// CHECK-LABEL: func.func @loop
func.func @loop(%q: tensor<1x10x32x64xf32>) -> tensor<1x10x32x64xf32> {
  %0 = "sparsity.attention"(%q, %q, %q) {heads = 1 : i64, kv_heads = 1 : i64, scale = 0.5 : f64, causal = false, layout = #sparsity.layout<{panel = 64 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x10x32x64xf32>, tensor<1x10x32x64xf32>, tensor<1x10x32x64xf32>) -> tensor<1x10x32x64xf32>
  return %0 : tensor<1x10x32x64xf32>
}

// -----

// A norm is one kernel: threads with four tokens and a piece of the features each, and a barrier after each of two sums.
// Ops of one shape share it.
// CHECK: func.func private @gpu_layer_norm_8(
// CHECK-SAME: sparsity.threads = array<i64: 32, 1, 1>
// CHECK-COUNT-2: memref.alloc() : memref<8x4xvector<4xf32>, #gpu.address_space<workgroup>>
// CHECK-COUNT-2: gpu.barrier
// CHECK-NOT: func.func private
// CHECK-LABEL: func.func @norms
func.func @norms(%x: tensor<1x2x8x16xf32>, %w: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<1x2x8x16xf32> {
  // CHECK: "sparsity.dispatch"(%arg0, %arg1, %arg2) {grid = array<i64: 32, 2, 1>, kernel = @gpu_layer_norm_8
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
