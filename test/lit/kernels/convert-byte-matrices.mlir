// RUN: sparsity-opt %s --convert-sparsity-to-kernels | FileCheck %s

// Two rows of eight weights meet eight features of two tokens. Two entries of four columns are shuffled into eight of each
// token; at the end, sums of two rows and two tokens become rows of four tokens.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 16 : i64, registers = 32 : i64, dot = "smmla"}>} {
  // CHECK-LABEL: func.func private @linear_2x8_bytes_in_matrices(
  // CHECK: scf.for {{.*}} step %{{.*}} iter_args(%{{.*}}, %{{.*}}, %{{.*}}) -> (vector<4xi32>, vector<4xi32>, index)
  // CHECK-COUNT-2: vector.load {{.*}} vector<16xi8>
  // CHECK: vector.shuffle {{.*}} [0, 4, 1, 5] : vector<4xi32>
  // CHECK: vector.shuffle {{.*}} [2, 6, 3, 7] : vector<4xi32>
  // CHECK: %[[WEIGHTS:.*]] = vector.load {{.*}} : memref<?xi8>, vector<16xi8>
  // CHECK-COUNT-2: llvm.call_intrinsic "llvm.aarch64.neon.smmla.v4i32.v16i8"(%{{.*}}, %[[WEIGHTS]], %{{.*}})
  // CHECK: scf.yield
  // CHECK: vector.shuffle {{.*}} [0, 1, 4, 5] : vector<4xi32>
  // CHECK: vector.shuffle {{.*}} [2, 3, 6, 7] : vector<4xi32>
  // CHECK: return
  // CHECK-LABEL: func.func @main
  func.func @main(%x: tensor<1x1x2x16x4xi8>, %t: tensor<1x1x16xf32>, %v: tensor<80xi8>, %c: tensor<2xi32>, %g: tensor<1x1x2xi32>, %o: tensor<1xi32>, %r: tensor<1x2xi32>, %w: tensor<2xi32>, %b: tensor<2xi32>, %s: tensor<2xf32>) -> tensor<1x1x2x16xf32> {
    // CHECK-NOT: sparsity.quantized_linear
    %y = "sparsity.quantized_linear"(%x, %t, %v, %c, %g, %o, %r, %w, %b, %s) {row_tile = 2 : i64, row_masks = [3], run = 8 : i64, zero_point = 0 : i64, sparsity.schedule = #sparsity.schedule<{token_vectors = 1 : i64}>, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0>} : (tensor<1x1x2x16x4xi8>, tensor<1x1x16xf32>, tensor<80xi8>, tensor<2xi32>, tensor<1x1x2xi32>, tensor<1xi32>, tensor<1x2xi32>, tensor<2xi32>, tensor<2xi32>, tensor<2xf32>) -> tensor<1x1x2x16xf32>
    return %y : tensor<1x1x2x16xf32>
  }
}
