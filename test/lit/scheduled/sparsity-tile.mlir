// RUN: sparsity-opt %s --sparsity-tile | FileCheck %s
// RUN: sparsity-opt %s --sparsity-tile --sparsity-tile | FileCheck %s

// The first tile holds most of the weights, so it is a workgroup of its own. Two rows and one spare register leave room
// for four vectors of sixteen tokens.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 64 : i64, registers = 32 : i64}>} {
  // CHECK-LABEL: func.func @balance
  func.func @balance(%x: tensor<1x1x128x64xf32>, %values: tensor<256xf32>, %columns: tensor<128xi32>, %offsets: tensor<4xi32>, %rows: tensor<4x2xi32>) -> tensor<1x1x8x64xf32> {
    %segments = "sparsity.weight"() {source = dense<[[[0, 100]], [[100, 110]], [[110, 118]], [[118, 128]]]> : tensor<4x1x2xi32>} : () -> tensor<4x1x2xi32>
    // CHECK: %[[WORK:.*]] = "sparsity.weight"() {source = dense<[0, 1, 4]> : tensor<3xi32>}
    %work = "sparsity.weight"() {source = dense<[0, 4]> : tensor<2xi32>} : () -> tensor<2xi32>
    // CHECK: "sparsity.packed_linear"(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %[[WORK]])
    // CHECK-SAME: sparsity.schedule = #sparsity.schedule<{token_vectors = 4 : i64, workgroups = 2 : i64}>
    %y = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {layout = #sparsity.layout<{panel = 64 : i64, inner = 1 : i64}>, row_tile = 2 : i64, row_masks = [3], sparsity.schedule = #sparsity.schedule<{token_vectors = 8 : i64, workgroups = 2 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<1x1x128x64xf32>, tensor<256xf32>, tensor<128xi32>, tensor<4x1x2xi32>, tensor<4xi32>, tensor<4x2xi32>, tensor<2xi32>) -> tensor<1x1x8x64xf32>
    return %y : tensor<1x1x8x64xf32>
  }
}
