// RUN: sparsity-opt %s --split-input-file --convert-sparsity-to-kernels | FileCheck %s

// Where a multiply-add takes numbers of memory, some columns' weights are converted into a buffer of f32 first: vectors
// of 8 values of f16, then the loop over the columns, which broadcasts from the buffer.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 32 : i64, registers = 16 : i64}>} {
  // CHECK-LABEL: func.func private @linear_4x8_f16(
  // CHECK-SAME: memref<?xf16>
  // CHECK: %[[BUFFER:.*]] = memref.alloca() : memref<1024xf32>
  // CHECK: arith.minui
  // CHECK: scf.for
  // CHECK: %[[STORED:.*]] = vector.load {{.*}} : memref<?xf16>, vector<8xf16>
  // CHECK: %[[WIDE:.*]] = arith.extf %[[STORED]] : vector<8xf16> to vector<8xf32>
  // CHECK: vector.store %[[WIDE]], %[[BUFFER]]
  // CHECK: scf.for {{.*}} iter_args
  // CHECK-COUNT-2: memref.load %[[BUFFER]]
  // CHECK-NOT: memref<?xf16>
  // CHECK-LABEL: func.func @buffered
  func.func @buffered(%x: tensor<1x1x8x16xf32>, %v: tensor<22xf16>, %c: tensor<3xi32>, %s: tensor<2x1x2xi32>, %o: tensor<2xi32>, %r: tensor<2x2xi32>, %w: tensor<2xi32>) -> tensor<1x1x4x16xf32> {
    %0 = "sparsity.packed_linear"(%x, %v, %c, %s, %o, %r, %w) {layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<1x1x8x16xf32>, tensor<22xf16>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<1x1x4x16xf32>
    return %0 : tensor<1x1x4x16xf32>
  }
}

// -----

// Where it takes a lane of a register, weights are converted as they are loaded. Sums of int8 begin at zero; scale and
// bias follow at the end.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 16 : i64, registers = 32 : i64}>} {
  // CHECK-LABEL: func.func private @linear_4x8_int8(
  // CHECK-NOT: memref.alloca
  // CHECK: scf.for {{.*}} iter_args
  // CHECK: %[[STORED:.*]] = vector.load {{.*}} : memref<?xi8>, vector<4xi8>
  // CHECK: %[[INTEGERS:.*]] = arith.extsi %[[STORED]] : vector<4xi8> to vector<4xi32>
  // CHECK: arith.sitofp %[[INTEGERS]] : vector<4xi32> to vector<4xf32>
  // CHECK: scf.yield
  // CHECK: vector.fma
  // CHECK-LABEL: func.func @by_lane
  func.func @by_lane(%x: tensor<1x1x8x16xf32>, %v: tensor<28xi8>, %c: tensor<3xi32>, %s: tensor<1x1x2xi32>, %o: tensor<1xi32>, %r: tensor<1x4xi32>, %w: tensor<2xi32>, %b: tensor<4xf32>, %q: tensor<4xf32>) -> tensor<1x1x4x16xf32> {
    %0 = "sparsity.packed_linear"(%x, %v, %c, %s, %o, %r, %w, %b, %q) {layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, row_tile = 4 : i64, row_masks = [15], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 0, 1>} : (tensor<1x1x8x16xf32>, tensor<28xi8>, tensor<3xi32>, tensor<1x1x2xi32>, tensor<1xi32>, tensor<1x4xi32>, tensor<2xi32>, tensor<4xf32>, tensor<4xf32>) -> tensor<1x1x4x16xf32>
    return %0 : tensor<1x1x4x16xf32>
  }
}
