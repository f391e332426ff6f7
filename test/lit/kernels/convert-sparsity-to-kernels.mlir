// RUN: sparsity-opt %s --convert-sparsity-to-kernels --split-input-file | FileCheck %s

// Two layers of one shape share a kernel: the lengths of their packed arrays are dynamic in it. Both rows of a tile
// share each load of x; a vector holds sixteen tokens, and four vectors make the panel of 64.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 64 : i64, registers = 32 : i64}>} {
  // CHECK: func.func private @linear_4x8_relu(%[[X:[a-z0-9]+]]: memref<1x1x8x64xf32>, %[[VALUES:[a-z0-9]+]]: memref<?xf32>,
  // CHECK-SAME: %[[COLUMNS:[a-z0-9]+]]: memref<?xi32>, %[[SEGMENTS:[a-z0-9]+]]: memref<?x1x2xi32>, %[[OFFSETS:[a-z0-9]+]]: memref<?xi32>,
  // CHECK-SAME: %[[ROWS:[a-z0-9]+]]: memref<?x2xi32>, %[[WORK:[a-z0-9]+]]: memref<2xi32>, %[[Y:[a-z0-9]+]]: memref<1x1x4x64xf32>,
  // CHECK-SAME: %[[W:[a-z0-9]+]]: index, %[[P:[a-z0-9]+]]: index, %[[B:[a-z0-9]+]]: index) attributes {sparsity.kernel}
  // CHECK: scf.for %[[TILE:.*]] =
  // CHECK: scf.for %[[C:[a-z0-9]+]] = {{.*}} iter_args({{.*}}) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, index)
  // CHECK: memref.load %[[COLUMNS]][%[[C]]]
  // CHECK-COUNT-4: vector.load %[[X]]
  // CHECK-NOT: vector.load
  // CHECK-COUNT-4: vector.fma
  // CHECK: memref.load %[[VALUES]]
  // CHECK-COUNT-4: vector.fma
  // CHECK: scf.yield
  // CHECK: arith.cmpf ogt
  // CHECK-COUNT-8: vector.store {{.*}}, %[[Y]]
  // CHECK: return
  // CHECK-NOT: sparsity.kernel
  // CHECK-LABEL: func.func @shared
  func.func @shared(%x: tensor<1x1x8x64xf32>, %v0: tensor<6xf32>, %v1: tensor<10xf32>, %c0: tensor<3xi32>, %c1: tensor<5xi32>, %s: tensor<2x1x2xi32>, %o: tensor<2xi32>, %r: tensor<2x2xi32>, %w: tensor<2xi32>) -> (tensor<1x1x4x64xf32>, tensor<1x1x4x64xf32>) {
    // CHECK: "sparsity.dispatch"(%{{.*}}) {grid = array<i64: 1, 1, 1>, kernel = @linear_4x8_relu
    // CHECK: "sparsity.dispatch"(%{{.*}}) {grid = array<i64: 1, 1, 1>, kernel = @linear_4x8_relu
    // CHECK-NOT: packed_linear
    %0 = "sparsity.packed_linear"(%x, %v0, %c0, %s, %o, %r, %w) {layout = #sparsity.layout<{panel = 64 : i64, inner = 1 : i64}>, activation = "relu", row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<1x1x8x64xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<1x1x4x64xf32>
    %1 = "sparsity.packed_linear"(%x, %v1, %c1, %s, %o, %r, %w) {layout = #sparsity.layout<{panel = 64 : i64, inner = 1 : i64}>, activation = "relu", row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<1x1x8x64xf32>, tensor<10xf32>, tensor<5xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<1x1x4x64xf32>
    return %0, %1 : tensor<1x1x4x64xf32>, tensor<1x1x4x64xf32>
  }
}

// -----

// One loop per row mask, the sums of all rows held across them.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 64 : i64, registers = 32 : i64}>} {
  // CHECK-LABEL: func.func private @linear_4x8(
  // CHECK: scf.for
  // CHECK-COUNT-3: scf.for {{.*}} iter_args
  // CHECK-NOT: iter_args
  // CHECK: return
  func.func @masks(%x: tensor<1x1x8x16xf32>, %v: tensor<6xf32>, %c: tensor<3xi32>, %s: tensor<2x3x2xi32>, %o: tensor<2xi32>, %r: tensor<2x2xi32>, %w: tensor<2xi32>) -> tensor<1x1x4x16xf32> {
    %0 = "sparsity.packed_linear"(%x, %v, %c, %s, %o, %r, %w) {layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, row_tile = 2 : i64, row_masks = [1, 2, 3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<1x1x8x16xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x3x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<1x1x4x16xf32>
    return %0 : tensor<1x1x4x16xf32>
  }
}

// -----

// The schedule orders the loops: three tiles take turns on every block of tokens, two columns make an iteration and the
// rest follow one by one. An op that differs in this alone has a kernel of its own.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 64 : i64, registers = 32 : i64}>} {
  // CHECK-LABEL: func.func private @linear_4x8_1(
  // CHECK-NOT: arith.minui
  // CHECK-LABEL: func.func private @linear_4x8(
  // CHECK: scf.for %[[GROUP:[a-z0-9]+]] =
  // CHECK: %[[END:.*]] = arith.minui
  // CHECK: scf.for %[[TOKEN:[a-z0-9]+]] =
  // CHECK: scf.for %[[TILE:[a-z0-9]+]] = %[[GROUP]] to %[[END]]
  // CHECK: scf.for {{.*}} iter_args
  // CHECK-COUNT-2: vector.load
  // CHECK-NOT: vector.load
  // CHECK: scf.yield
  // CHECK: scf.for {{.*}} iter_args
  // CHECK-COUNT-1: vector.load
  // CHECK-NOT: vector.load
  // CHECK: scf.yield
  // CHECK: return
  // CHECK-LABEL: func.func @loops
  func.func @loops(%x: tensor<1x1x8x64xf32>, %v: tensor<10xf32>, %c: tensor<5xi32>, %s: tensor<2x1x2xi32>, %o: tensor<2xi32>, %r: tensor<2x2xi32>, %w: tensor<2xi32>) -> (tensor<1x1x4x64xf32>, tensor<1x1x4x64xf32>) {
    // CHECK: kernel = @linear_4x8,
    // CHECK: kernel = @linear_4x8_1,
    %0 = "sparsity.packed_linear"(%x, %v, %c, %s, %o, %r, %w) {layout = #sparsity.layout<{panel = 64 : i64, inner = 1 : i64}>, sparsity.schedule = #sparsity.schedule<{token_vectors = 1 : i64, unroll = 2 : i64, tile_group = 3 : i64}>, row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<1x1x8x64xf32>, tensor<10xf32>, tensor<5xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<1x1x4x64xf32>
    %1 = "sparsity.packed_linear"(%x, %v, %c, %s, %o, %r, %w) {layout = #sparsity.layout<{panel = 64 : i64, inner = 1 : i64}>, sparsity.schedule = #sparsity.schedule<{token_vectors = 1 : i64}>, row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<1x1x8x64xf32>, tensor<10xf32>, tensor<5xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<1x1x4x64xf32>
    return %0, %1 : tensor<1x1x4x64xf32>, tensor<1x1x4x64xf32>
  }
}

// -----

// A panel that is no whole number of vectors would need a remainder loop; token-major ops have no kernel. Both stay.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 128 : i64, registers = 32 : i64}>} {
  // CHECK-LABEL: func.func @left_alone
  // CHECK-COUNT-2: "sparsity.activation"
  // CHECK-NOT: sparsity.dispatch
  func.func @left_alone(%x: tensor<1x1x8x16xf32>, %y: tensor<1x8x16xf32>) -> (tensor<1x1x8x16xf32>, tensor<1x8x16xf32>) {
    %0 = "sparsity.activation"(%x) {kind = "relu", layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>} : (tensor<1x1x8x16xf32>) -> tensor<1x1x8x16xf32>
    %1 = "sparsity.activation"(%y) {kind = "relu"} : (tensor<1x8x16xf32>) -> tensor<1x8x16xf32>
    return %0, %1 : tensor<1x1x8x16xf32>, tensor<1x8x16xf32>
  }
}

// -----

// The width comes from the target: two vectors of four lanes here.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 16 : i64, registers = 32 : i64}>} {
  // CHECK-LABEL: func.func private @attention_2x4
  // CHECK: memref.alloca() : memref<16x16xf32>
  // CHECK: vector.load {{.*}} vector<4xf32>
  // CHECK: arith.shli
  // CHECK: arith.cmpf oeq
  // CHECK-LABEL: func.func @attention
  func.func @attention(%q: tensor<1x1x8x16xf32>, %bias: tensor<1x16xf32>) -> tensor<1x1x8x16xf32> {
    // CHECK: "sparsity.dispatch"{{.*}}grid = array<i64: 2, 1, 1>
    %a = "sparsity.attention"(%q, %q, %q, %bias) {layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, heads = 2 : i64, kv_heads = 2 : i64, scale = 1.0 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<1x1x8x16xf32>, tensor<1x1x8x16xf32>, tensor<1x1x8x16xf32>, tensor<1x16xf32>) -> tensor<1x1x8x16xf32>
    return %a : tensor<1x1x8x16xf32>
  }
}
