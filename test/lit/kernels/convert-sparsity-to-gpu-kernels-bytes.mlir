// RUN: sparsity-opt %s --convert-sparsity-to-gpu-kernels | FileCheck %s
// RUN: sparsity-opt %s --check-semantics --convert-sparsity-to-gpu-kernels -o /dev/null

// Rows: four words of as many features become four features of as many tokens, once for all rows of the tile. Two
// threads share the columns: they take turns in fours of them, and add up integers.
// CHECK-LABEL: func.func private @gpu_linear_8x8_rows_of_bytes
// CHECK-SAME: (%[[X:[a-z0-9]+]]: memref<1x1x8x16xi8>
// CHECK-SAME: %[[COLUMNS:[a-z0-9]+]]: memref<?xi32>, %{{[a-z0-9]+}}: memref<?x1x2xi32>
// CHECK: %[[FLAT:.*]] = memref.collapse_shape %[[X]]
// CHECK: %[[WORDS:.*]] = memref.view %[[FLAT]]{{.*}} to memref<1x1x32xi32>
// CHECK: %[[SHARED:.*]] = memref.alloc() : memref<2x4x1x8xvector<4xi32>, #gpu.address_space<workgroup>>
// CHECK: %[[STEP:.*]] = arith.constant 8 : index
// CHECK: scf.for {{.*}} step %[[STEP]]
// CHECK: vector.load %[[COLUMNS]]{{.*}} vector<4xi32>
// CHECK-COUNT-4: memref.load %[[WORDS]]
// CHECK-COUNT-12: arith.xori
// CHECK-COUNT-16: spirv.SDot
// CHECK: memref.store {{.*}}, %[[SHARED]]
// CHECK: gpu.barrier
// CHECK: memref.load %[[SHARED]]
// CHECK: arith.addi {{.*}} vector<4xi32>
// CHECK: arith.sitofp

// Groups: a load of x is four features of four tokens, one of values is four weights of four rows.
// CHECK-LABEL: func.func private @gpu_linear_8x8_bytes
// CHECK-SAME: (%[[X:[a-z0-9]+]]: memref<1x1x2x16x4xi8>, %{{[a-z0-9]+}}: memref<1x1x16xf32>, %[[VALUES:[a-z0-9]+]]: memref<?xi8>
// CHECK: %[[FLAT:.*]] = memref.collapse_shape %[[X]]
// CHECK: %[[WORDS:.*]] = memref.view %[[FLAT]]{{.*}} to memref<1x1x32xi32>
// CHECK: %[[WEIGHTS:.*]] = memref.view %[[VALUES]]{{.*}} to memref<?xi32>
// CHECK: scf.for
// CHECK: vector.load %[[WORDS]]{{.*}} vector<4xi32>
// CHECK: vector.load %[[WEIGHTS]]{{.*}} vector<4xi32>
// CHECK-COUNT-16: spirv.SDot
// CHECK-NOT: spirv.SDot
// CHECK: scf.yield
// Scales of tokens, then of rows.
// CHECK: %[[SUM:.*]] = arith.sitofp
// CHECK: arith.mulf %[[SUM]]
// CHECK: vector.fma

// The scales of tokens and their bytes are one kernel; a barrier stands between a thread's own features and all.
// CHECK-LABEL: func.func private @gpu_quantize_8_by_4
// CHECK-SAME: (%[[X:[a-z0-9]+]]: memref<1x1x8x16xf32>, %[[SCALES:[a-z0-9]+]]: memref<1x1x16xf32>, %[[BYTES:[a-z0-9]+]]: memref<1x1x2x16x4xi8>,
// CHECK: arith.maxsi
// CHECK: gpu.barrier
// CHECK: scf.if
// CHECK-NEXT: vector.store %{{.*}}, %[[SCALES]]
// CHECK: scf.for
// CHECK-COUNT-4: math.roundeven
// CHECK: vector.store
// CHECK-LABEL: func.func @groups
// CHECK: %[[MADE:.*]]:2 = "sparsity.dispatch"(%{{.*}}) {grid = array<i64: 8, 1, 1>, kernel = @gpu_quantize_8_by_4
// CHECK: "sparsity.dispatch"(%[[MADE]]#1, %[[MADE]]#0, {{.*}}) {grid = array<i64: 4, 2, 1>, kernel = @gpu_linear_8x8_bytes
#panels = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>
func.func @groups(%x: tensor<1x1x8x16xf32>, %f: tensor<8xf32>) -> tensor<1x1x8x16xf32> {
  %v = "sparsity.weight"() {source = dense<3> : tensor<96xi8>} : () -> tensor<96xi8>
  %c = "sparsity.weight"() {source = dense<[0, 64]> : tensor<2xi32>} : () -> tensor<2xi32>
  %s = "sparsity.weight"() {source = dense<[[[0, 1]], [[1, 2]]]> : tensor<2x1x2xi32>} : () -> tensor<2x1x2xi32>
  %o = "sparsity.weight"() {source = dense<[0, 16]> : tensor<2xi32>} : () -> tensor<2xi32>
  %r = "sparsity.weight"() {source = dense<[[0, 2, 4, 6], [1, 3, 5, 7]]> : tensor<2x4xi32>} : () -> tensor<2x4xi32>
  %w = "sparsity.weight"() {source = dense<[0, 2]> : tensor<2xi32>} : () -> tensor<2xi32>
  %z = "sparsity.weight"() {source = dense<0> : tensor<8xi32>} : () -> tensor<8xi32>
  %0 = "sparsity.token_scales"(%x) {layout = #panels} : (tensor<1x1x8x16xf32>) -> tensor<1x1x16xf32>
  %1 = "sparsity.quantize_tokens"(%x, %0) {zero_point = 0 : i64, layout = #sparsity.layout<{panel = 16 : i64, inner = 4 : i64}>} : (tensor<1x1x8x16xf32>, tensor<1x1x16xf32>) -> tensor<1x1x2x16x4xi8>
  %2 = "sparsity.quantized_linear"(%1, %0, %v, %c, %s, %o, %r, %w, %z, %f) {layout = #panels, row_tile = 4 : i64, row_masks = [15], zero_point = 0 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0>} : (tensor<1x1x2x16x4xi8>, tensor<1x1x16xf32>, tensor<96xi8>, tensor<2xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x4xi32>, tensor<2xi32>, tensor<8xi32>, tensor<8xf32>) -> tensor<1x1x8x16xf32>
  return %2 : tensor<1x1x8x16xf32>
}

func.func @rows(%q: tensor<1x1x8x16xi8>, %t: tensor<1x1x16xf32>, %f: tensor<8xf32>) -> tensor<1x1x8x16xf32> {
  %v = "sparsity.weight"() {source = dense<-5> : tensor<96xi8>} : () -> tensor<96xi8>
  %c = "sparsity.weight"() {source = dense<[0, 32, 96, 112]> : tensor<4xi32>} : () -> tensor<4xi32>
  %s = "sparsity.weight"() {source = dense<[[[0, 4]], [[0, 4]]]> : tensor<2x1x2xi32>} : () -> tensor<2x1x2xi32>
  %o = "sparsity.weight"() {source = dense<[0, 16]> : tensor<2xi32>} : () -> tensor<2xi32>
  %r = "sparsity.weight"() {source = dense<[[0, 2, 4, 6], [1, 3, 5, 7]]> : tensor<2x4xi32>} : () -> tensor<2x4xi32>
  %w = "sparsity.weight"() {source = dense<[0, 2]> : tensor<2xi32>} : () -> tensor<2xi32>
  %z = "sparsity.weight"() {source = dense<0> : tensor<8xi32>} : () -> tensor<8xi32>
  %2 = "sparsity.quantized_linear"(%q, %t, %v, %c, %s, %o, %r, %w, %z, %f) {sparsity.schedule = #sparsity.schedule<{row_tile = 4 : i64, column_pieces = 2 : i64}>, layout = #panels, row_tile = 4 : i64, row_masks = [15], zero_point = 0 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0>} : (tensor<1x1x8x16xi8>, tensor<1x1x16xf32>, tensor<96xi8>, tensor<4xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x4xi32>, tensor<2xi32>, tensor<8xi32>, tensor<8xf32>) -> tensor<1x1x8x16xf32>
  return %2 : tensor<1x1x8x16xf32>
}

// Unsigned activations are those of another instruction: the op is left alone.
// CHECK-LABEL: func.func @unsigned
// CHECK: sparsity.quantize_tokens
func.func @unsigned(%x: tensor<1x1x8x16xf32>, %s: tensor<1x1x16xf32>) -> tensor<1x1x2x16x4xi8> {
  %0 = "sparsity.quantize_tokens"(%x, %s) {zero_point = 128 : i64, layout = #sparsity.layout<{panel = 16 : i64, inner = 4 : i64}>} : (tensor<1x1x8x16xf32>, tensor<1x1x16xf32>) -> tensor<1x1x2x16x4xi8>
  return %0 : tensor<1x1x2x16x4xi8>
}
