// RUN: sparsity-opt %s --convert-sparsity-to-gpu-kernels | FileCheck %s

// Weights of half the bytes, and bytes with scales, become f32 where they are loaded, four bytes as one word. Scales
// come before the bias.
// CHECK: func.func private @gpu_linear_8x8_1(%{{[a-z0-9]+}}: memref<1x1x8x16xf32>, %[[BYTES:[a-z0-9]+]]: memref<?xi8>{{.*}}, %[[BIAS:[a-z0-9]+]]: memref<8xf32>, %[[SCALES:[a-z0-9]+]]: memref<8xf32>, %{{[a-z0-9]+}}: memref<1x1x8x16xf32>
// CHECK: %[[WORDS:[a-z0-9_]+]] = memref.view %[[BYTES]]{{.*}} : memref<?xi8> to memref<?xi32>
// CHECK: scf.for
// CHECK: memref.load %[[WORDS]]
// CHECK-NEXT: vector.broadcast {{.*}} : i32 to vector<4xi32>
// CHECK: arith.shli
// CHECK: arith.shrsi
// CHECK: arith.sitofp {{.*}} : vector<4xi32> to vector<4xf32>
// CHECK-COUNT-4: vector.fma
// CHECK: scf.yield
// CHECK: memref.load %[[SCALES]]
// CHECK: vector.fma
// CHECK: func.func private @gpu_linear_8x8(%{{[a-z0-9]+}}: memref<1x1x8x16xf32>, %[[HALF:[a-z0-9]+]]: memref<?xf16>
// CHECK: scf.for
// CHECK: vector.load %[[HALF]]{{.*}} vector<4xf16>
// CHECK-NEXT: arith.extf
// CHECK-COUNT-4: vector.fma
// CHECK: scf.yield
// CHECK: vector.store
func.func @stored_smaller(%x: tensor<1x1x8x16xf32>, %h: tensor<8xf16>, %q: tensor<8xi8>, %f: tensor<8xf32>, %c: tensor<2xi32>, %s: tensor<2x1x2xi32>, %o: tensor<2xi32>, %r: tensor<2x4xi32>, %w: tensor<2xi32>) -> (tensor<1x1x8x16xf32>, tensor<1x1x8x16xf32>) {
  %0 = "sparsity.packed_linear"(%x, %h, %c, %s, %o, %r, %w) {layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, row_tile = 4 : i64, row_masks = [15], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<1x1x8x16xf32>, tensor<8xf16>, tensor<2xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x4xi32>, tensor<2xi32>) -> tensor<1x1x8x16xf32>
  %1 = "sparsity.packed_linear"(%x, %q, %c, %s, %o, %r, %w, %f, %f) {layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, row_tile = 4 : i64, row_masks = [15], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 0, 1>} : (tensor<1x1x8x16xf32>, tensor<8xi8>, tensor<2xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x4xi32>, tensor<2xi32>, tensor<8xf32>, tensor<8xf32>) -> tensor<1x1x8x16xf32>
  return %0, %1 : tensor<1x1x8x16xf32>, tensor<1x1x8x16xf32>
}
