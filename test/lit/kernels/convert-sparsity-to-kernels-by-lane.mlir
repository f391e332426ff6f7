// RUN: sparsity-opt %s --convert-sparsity-to-kernels --split-input-file | FileCheck %s

// With NEON the weights of a column are loaded as vectors and used lane by lane; six of them are four and two. Both
// vectors of tokens are one load. The other loop, of the columns that are left, reads no further than its own weights.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 16 : i64, registers = 32 : i64}>} {
  // CHECK-LABEL: func.func private @linear_6x8(
  // CHECK-SAME: %[[X:[a-z0-9]+]]: memref<1x1x8x16xf32>, %[[VALUES:[a-z0-9]+]]: memref<?xf32>
  // CHECK: scf.for {{.*}} iter_args
  // CHECK: %[[TOKENS:.*]] = vector.load %[[X]]{{.*}} vector<8xf32>
  // CHECK: vector.extract_strided_slice %[[TOKENS]] {offsets = [0]
  // CHECK: vector.extract_strided_slice %[[TOKENS]] {offsets = [4]
  // CHECK: %[[FOUR:.*]] = vector.load %[[VALUES]]{{.*}} vector<4xf32>
  // CHECK: %[[FIRST:.*]] = vector.extract %[[FOUR]][0]
  // CHECK: %[[SPREAD:.*]] = vector.broadcast %[[FIRST]] : f32 to vector<4xf32>
  // CHECK: vector.fma %[[SPREAD]]
  // CHECK: %[[TWO:.*]] = vector.load %[[VALUES]]{{.*}} vector<2xf32>
  // CHECK: vector.extract %[[TWO]][1]
  // CHECK-NOT: memref.load %[[VALUES]]
  // CHECK: return
  // CHECK-LABEL: func.func @linear
  func.func @linear(%x: tensor<1x1x8x16xf32>, %v: tensor<18xf32>, %c: tensor<3xi32>, %s: tensor<1x1x2xi32>, %o: tensor<1xi32>, %r: tensor<1x6xi32>, %w: tensor<2xi32>) -> tensor<1x1x6x16xf32> {
    %0 = "sparsity.packed_linear"(%x, %v, %c, %s, %o, %r, %w) {layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, sparsity.schedule = #sparsity.schedule<{token_vectors = 2 : i64}>, row_tile = 6 : i64, row_masks = [63], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<1x1x8x16xf32>, tensor<18xf32>, tensor<3xi32>, tensor<1x1x2xi32>, tensor<1xi32>, tensor<1x6xi32>, tensor<2xi32>) -> tensor<1x1x6x16xf32>
    return %0 : tensor<1x1x6x16xf32>
  }
}

// -----

// The two products of attention likewise: four keys, then four keys' numbers of a feature, are one load.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 16 : i64, registers = 32 : i64}>} {
  // CHECK-LABEL: func.func private @attention_2x4
  // CHECK-SAME: %[[Q:[a-z0-9]+]]: memref<1x1x8x16xf32>, %[[K:[a-z0-9]+]]: memref<1x1x8x16xf32>, %[[V:[a-z0-9]+]]: memref<1x1x8x16xf32>
  // CHECK: vector.load %[[Q]]{{.*}} vector<16xf32>
  // CHECK: %[[KEYS:.*]] = vector.load %[[K]]{{.*}} vector<4xf32>
  // CHECK: vector.extract %[[KEYS]][3]
  // CHECK: %[[VALUES:.*]] = vector.load %[[V]]{{.*}} vector<4xf32>
  // CHECK: vector.extract %[[VALUES]][3]
  // CHECK: return
  // CHECK-LABEL: func.func @attention
  func.func @attention(%q: tensor<1x1x8x16xf32>, %k: tensor<1x1x8x16xf32>, %v: tensor<1x1x8x16xf32>) -> tensor<1x1x8x16xf32> {
    %a = "sparsity.attention"(%q, %k, %v) {layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, heads = 2 : i64, kv_heads = 2 : i64, scale = 1.0 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x1x8x16xf32>, tensor<1x1x8x16xf32>, tensor<1x1x8x16xf32>) -> tensor<1x1x8x16xf32>
    return %a : tensor<1x1x8x16xf32>
  }
}

// -----

// Sums in f16: eight tokens to a vector, x rounded where it is loaded, weights as they are stored; after each run of four
// columns the sums are added to those in f32.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 16 : i64, registers = 32 : i64}>} {
  // CHECK-LABEL: func.func private @linear_4x8_f16(
  // CHECK-SAME: %[[X:[a-z0-9]+]]: memref<1x1x8x16xf32>, %[[VALUES:[a-z0-9]+]]: memref<?xf16>
  // CHECK: %{{.*}}:17 = scf.for %{{.*}} = %{{.*}} to %{{.*}} step %{{.*}} iter_args
  // CHECK: %[[PARTS:.*]]:9 = scf.for
  // CHECK: %[[TOKENS:.*]] = vector.load %[[X]]{{.*}} vector<16xf32>
  // CHECK: arith.truncf %[[TOKENS]] : vector<16xf32> to vector<16xf16>
  // CHECK: vector.load %[[VALUES]]{{.*}} vector<4xf16>
  // CHECK: vector.fma {{.*}} : vector<8xf16>
  // CHECK: scf.yield
  // CHECK: arith.extf %[[PARTS]]#0 : vector<8xf16> to vector<8xf32>
  // CHECK: arith.addf {{.*}} : vector<4xf32>
  // CHECK: scf.yield
  func.func @half_sums(%x: tensor<1x1x8x16xf32>, %v: tensor<40xf16>, %c: tensor<6xi32>, %s: tensor<1x1x2xi32>, %o: tensor<1xi32>, %r: tensor<1x4xi32>, %w: tensor<2xi32>) -> tensor<1x1x4x16xf32> {
    %0 = "sparsity.packed_linear"(%x, %v, %c, %s, %o, %r, %w) {layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, sparsity.half_sums = 4 : i64, row_tile = 4 : i64, row_masks = [15], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<1x1x8x16xf32>, tensor<40xf16>, tensor<6xi32>, tensor<1x1x2xi32>, tensor<1xi32>, tensor<1x4xi32>, tensor<2xi32>) -> tensor<1x1x4x16xf32>
    return %0 : tensor<1x1x4x16xf32>
  }
}
