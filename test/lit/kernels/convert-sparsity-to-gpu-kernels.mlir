// RUN: sparsity-opt %s --convert-sparsity-to-gpu-kernels | FileCheck %s

// Two threads share the columns of a tile, every other one each; behind the barrier each adds up and writes two rows.
// CHECK: func.func private @gpu_linear_8x8(%{{.*}}, %[[PLACE:[a-z0-9]+]]: index, %{{[a-z0-9]+}}: index, %{{[a-z0-9]+}}: index) attributes {sparsity.kernel, sparsity.threads = array<i64: 4, 2, 1>}
// CHECK: %[[SHARED:.*]] = memref.alloc() : memref<2x4x2x4xvector<4xf32>, #gpu.address_space<workgroup>>
// CHECK: %[[PIECE:.*]] = arith.divui %[[PLACE]], %{{.*}} : index
// CHECK: %[[FIRST:.*]] = arith.addi %{{.*}}, %[[PIECE]]
// CHECK: scf.for %{{.*}} = %[[FIRST]] to %{{.*}} step %c2
// CHECK-COUNT-8: vector.fma
// CHECK-COUNT-8: memref.store {{.*}}, %[[SHARED]]
// CHECK: gpu.barrier
// CHECK-COUNT-8: memref.load %[[SHARED]]
// CHECK-COUNT-4: vector.store
// CHECK-NOT: vector.store

// A thread has four tokens and a tile of four rows: a column is one load of x, one of its weights, four multiply-adds.
// CHECK: func.func private @gpu_linear_8x8_relu(%[[X:[a-z0-9]+]]: memref<1x1x8x16xf32>, %[[VALUES:[a-z0-9]+]]: memref<?xf32>, %[[COLUMNS:[a-z0-9]+]]: memref<?xi32>
// CHECK-SAME: attributes {sparsity.kernel, sparsity.threads = array<i64: 4, 2, 1>}
// CHECK: scf.for %[[C:[a-z0-9]+]] =
// CHECK: memref.load %[[COLUMNS]][%[[C]]]
// CHECK: vector.load %[[X]]{{.*}} vector<4xf32>
// CHECK: vector.load %[[VALUES]]{{.*}} vector<4xf32>
// CHECK-COUNT-4: vector.fma
// CHECK: scf.yield
// CHECK-COUNT-4: vector.store
// CHECK-LABEL: func.func @panels
func.func @panels(%x: tensor<1x1x8x16xf32>, %v: tensor<8xf32>, %c: tensor<2xi32>, %s: tensor<2x1x2xi32>, %o: tensor<2xi32>, %r: tensor<2x4xi32>, %w: tensor<2xi32>) -> tensor<1x1x8x16xf32> {
  // CHECK: "sparsity.dispatch"(%{{.*}}) {grid = array<i64: 4, 2, 1>, kernel = @gpu_linear_8x8_relu
  %0 = "sparsity.packed_linear"(%x, %v, %c, %s, %o, %r, %w) {layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, activation = "relu", row_tile = 4 : i64, row_masks = [15], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<1x1x8x16xf32>, tensor<8xf32>, tensor<2xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x4xi32>, tensor<2xi32>) -> tensor<1x1x8x16xf32>
  return %0 : tensor<1x1x8x16xf32>
}

// CHECK-LABEL: func.func @pieces
func.func @pieces(%x: tensor<1x1x8x16xf32>, %v: tensor<8xf32>, %c: tensor<2xi32>, %s: tensor<2x1x2xi32>, %o: tensor<2xi32>, %r: tensor<2x4xi32>, %w: tensor<2xi32>) -> tensor<1x1x8x16xf32> {
  // CHECK: "sparsity.dispatch"(%{{.*}}) {grid = array<i64: 4, 2, 1>, kernel = @gpu_linear_8x8
  %0 = "sparsity.packed_linear"(%x, %v, %c, %s, %o, %r, %w) {sparsity.schedule = #sparsity.schedule<{row_tile = 4 : i64, token_vectors = 2 : i64, column_pieces = 2 : i64}>, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, row_tile = 4 : i64, row_masks = [15], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<1x1x8x16xf32>, tensor<8xf32>, tensor<2xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x4xi32>, tensor<2xi32>) -> tensor<1x1x8x16xf32>
  return %0 : tensor<1x1x8x16xf32>
}

// Token-major layers are left to the portable path.
// CHECK-LABEL: func.func @token_major
func.func @token_major(%x: tensor<1x16x8xf32>, %v: tensor<8xf32>, %c: tensor<2xi32>, %s: tensor<2x1x2xi32>, %o: tensor<2xi32>, %r: tensor<2x4xi32>, %w: tensor<2xi32>) -> tensor<1x16x8xf32> {
  // CHECK: sparsity.packed_linear
  %0 = "sparsity.packed_linear"(%x, %v, %c, %s, %o, %r, %w) {row_tile = 4 : i64, row_masks = [15], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<1x16x8xf32>, tensor<8xf32>, tensor<2xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x4xi32>, tensor<2xi32>) -> tensor<1x16x8xf32>
  return %0 : tensor<1x16x8xf32>
}
