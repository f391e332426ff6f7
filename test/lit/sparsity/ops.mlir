// Every op and attribute of the dialect survives printing and parsing, and passes its verifier.
// RUN: sparsity-opt %s | sparsity-opt | FileCheck %s
// RUN: sparsity-opt %s --check-semantics --cse -o /dev/null

// CHECK: sparsity.target = #sparsity.target<{registers = 32 : i64, vector_bytes = 64 : i64, workers = 2 : i64}>
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 64 : i64, registers = 32 : i64, workers = 2 : i64}>} {

// CHECK-LABEL: func.func @weights
func.func @weights() -> (tensor<2x2xf32>, tensor<2xi32>) {
  // CHECK: "sparsity.weight"() {source = dense<1.000000e+00> : tensor<2x2xf32>, sparsity.encoding = #sparsity.dense<{}>}
  %0 = "sparsity.weight"() {source = dense<1.0> : tensor<2x2xf32>, sparsity.encoding = #sparsity.dense<{}>} : () -> tensor<2x2xf32>
  // CHECK: #sparsity.bcr<{block_columns = 16 : i64, block_rows = 4 : i64}>
  %1 = "sparsity.weight"() {source = dense<1.0> : tensor<2x2xf32>, sparsity.encoding = #sparsity.bcr<{block_rows = 4 : i64, block_columns = 16 : i64}>} : () -> tensor<2x2xf32>
  // CHECK: #sparsity.block<{chunk_columns = 8 : i64}>
  %2 = "sparsity.weight"() {source = dense<1.0> : tensor<2x2xf32>, sparsity.encoding = #sparsity.block<{chunk_columns = 8 : i64}>} : () -> tensor<2x2xf32>
  // CHECK: #sparsity.pattern<{patterns = [9, 6], size = 2 : i64}>
  %3 = "sparsity.weight"() {source = dense<1.0> : tensor<2x2xf32>, sparsity.encoding = #sparsity.pattern<{size = 2 : i64, patterns = [9, 6]}>} : () -> tensor<2x2xf32>
  // CHECK: #sparsity.punched<{block_channels = 4 : i64, block_filters = 8 : i64}>
  %4 = "sparsity.weight"() {source = dense<1.0> : tensor<2x2xf32>, sparsity.encoding = #sparsity.punched<{block_filters = 8 : i64, block_channels = 4 : i64}>} : () -> tensor<2x2xf32>
  // CHECK: #sparsity.nm<{m = 4 : i64, n = 2 : i64}>
  %5 = "sparsity.weight"() {source = dense<1.0> : tensor<2x2xf32>, sparsity.encoding = #sparsity.nm<{n = 2 : i64, m = 4 : i64}>} : () -> tensor<2x2xf32>
  // CHECK: #sparsity.unstructured<{}>
  %6 = "sparsity.weight"() {source = dense<1.0> : tensor<2x2xf32>, sparsity.encoding = #sparsity.unstructured<{}>} : () -> tensor<2x2xf32>
  %7 = "sparsity.weight"() {source = dense<[1, 2]> : tensor<2xi32>} : () -> tensor<2xi32>
  return %6, %7 : tensor<2x2xf32>, tensor<2xi32>
}

// CHECK-LABEL: func.func @token_major
func.func @token_major(%ids: tensor<1x6xi64>, %table: tensor<9x4xf32>, %w: tensor<4x4xf32>, %b: tensor<4xf32>, %mask: tensor<1x6xf32>, %bias: tensor<1x2x6x6xf32>) -> tensor<1x6x4xf32> {
  // CHECK: "sparsity.embedding"
  %x = "sparsity.embedding"(%ids, %table) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x6xi64>, tensor<9x4xf32>) -> tensor<1x6x4xf32>
  // CHECK: "sparsity.linear"{{.*}}activation = "gelu"{{.*}}sparsity.schedule = #sparsity.schedule<{row_tile = 4 : i64, token_vectors = 2 : i64, unroll = 2 : i64, workgroups = 3 : i64}>
  %0 = "sparsity.linear"(%x, %w, %b, %x) {activation = "gelu", operandSegmentSizes = array<i32: 1, 1, 1, 1>, sparsity.schedule = #sparsity.schedule<{row_tile = 4 : i64, token_vectors = 2 : i64, unroll = 2 : i64, workgroups = 3 : i64}>} : (tensor<1x6x4xf32>, tensor<4x4xf32>, tensor<4xf32>, tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  // CHECK: "sparsity.linear"
  %k = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x6x4xf32>, tensor<4x4xf32>) -> tensor<1x6x4xf32>
  // CHECK: "sparsity.attention"
  %1 = "sparsity.attention"(%0, %k, %x, %mask, %bias) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1>} : (tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x6xf32>, tensor<1x2x6x6xf32>) -> tensor<1x6x4xf32>
  // CHECK: "sparsity.attention"{{.*}}depth = 1 : i64{{.*}}offsets = [0, 2, 3]
  %2 = "sparsity.attention"(%0, %0, %0) {heads = 2 : i64, kv_heads = 1 : i64, scale = 0.5 : f64, causal = false, offsets = [0, 2, 3], depth = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x6x4xf32>) -> tensor<1x6x2xf32>
  // CHECK: "sparsity.layer_norm"
  %3 = "sparsity.layer_norm"(%1, %b, %b, %x) {epsilon = 1.0e-5 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1>} : (tensor<1x6x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  // CHECK: "sparsity.activation"
  %4 = "sparsity.activation"(%3) {kind = "silu"} : (tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  // CHECK: "sparsity.add"
  %5 = "sparsity.add"(%4, %k) : (tensor<1x6x4xf32>, tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  return %5 : tensor<1x6x4xf32>
}

// CHECK-LABEL: func.func @decoders
func.func @decoders(%x: tensor<1x2x8xf32>, %w: tensor<8xf32>, %cos: tensor<1x2x2xf32>, %keys: tensor<1x9x4xf16>, %bias: tensor<1x1x2x9xf32>) -> tensor<1x2x8xf32> {
  %length = arith.constant dense<5> : tensor<1xi32>
  // CHECK: "sparsity.rms_norm"{{.*}}epsilon
  %0 = "sparsity.rms_norm"(%x, %w) {epsilon = 1.0e-6 : f64} : (tensor<1x2x8xf32>, tensor<8xf32>) -> tensor<1x2x8xf32>
  // CHECK: "sparsity.rotary"{{.*}}heads = 2 : i64
  %1 = "sparsity.rotary"(%0, %cos, %cos) {heads = 2 : i64} : (tensor<1x2x8xf32>, tensor<1x2x2xf32>, tensor<1x2x2xf32>) -> tensor<1x2x8xf32>
  // CHECK: "sparsity.cached_attention"{{.*}}window = 3 : i64
  %2 = "sparsity.cached_attention"(%1, %keys, %keys, %length, %bias) {heads = 2 : i64, kv_heads = 1 : i64, scale = 0.5 : f64, causal = true, window = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1>} : (tensor<1x2x8xf32>, tensor<1x9x4xf16>, tensor<1x9x4xf16>, tensor<1xi32>, tensor<1x1x2x9xf32>) -> tensor<1x2x8xf32>
  // CHECK: "sparsity.gated"{{.*}}kind = "silu"
  %3 = "sparsity.gated"(%2, %x) {kind = "silu"} : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %3 : tensor<1x2x8xf32>
}

// CHECK-LABEL: func.func @panels
func.func @panels(%x: tensor<1x6x3xf32>, %b: tensor<4xf32>) -> tensor<1x6x4xf32> {
  %values = "sparsity.weight"() {source = dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]> : tensor<6xf32>} : () -> tensor<6xf32>
  %columns = "sparsity.weight"() {source = dense<[0, 2, 1]> : tensor<3xi32>} : () -> tensor<3xi32>
  %segments = "sparsity.weight"() {source = dense<[[[0, 2]], [[2, 3]]]> : tensor<2x1x2xi32>} : () -> tensor<2x1x2xi32>
  %offsets = "sparsity.weight"() {source = dense<[0, 4]> : tensor<2xi32>} : () -> tensor<2xi32>
  %rows = "sparsity.weight"() {source = dense<[[0, 3], [1, 2]]> : tensor<2x2xi32>} : () -> tensor<2x2xi32>
  %work = "sparsity.weight"() {source = dense<[0, 2]> : tensor<2xi32>} : () -> tensor<2xi32>
  // CHECK: "sparsity.to_panels"{{.*}}layout = #sparsity.layout<{inner = 1 : i64, panel = 4 : i64}>
  %p = "sparsity.to_panels"(%x) {layout = #sparsity.layout<{panel = 4 : i64, inner = 1 : i64}>} : (tensor<1x6x3xf32>) -> tensor<1x2x3x4xf32>
  // CHECK: "sparsity.packed_linear"
  %y = "sparsity.packed_linear"(%p, %values, %columns, %segments, %offsets, %rows, %work, %b) {row_tile = 2 : i64, row_masks = [3], activation = "relu", layout = #sparsity.layout<{panel = 4 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 0, 0>} : (tensor<1x2x3x4xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>, tensor<4xf32>) -> tensor<1x2x4x4xf32>
  // CHECK: "sparsity.from_panels"
  %z = "sparsity.from_panels"(%y) {layout = #sparsity.layout<{panel = 4 : i64, inner = 1 : i64}>} : (tensor<1x2x4x4xf32>) -> tensor<1x6x4xf32>
  return %z : tensor<1x6x4xf32>
}

func.func private @scale(%x: memref<2x4xf32>, %y: memref<2x4xf32>, %i: index, %j: index, %k: index) attributes {sparsity.kernel} {
  %v = memref.load %x[%j, %i] : memref<2x4xf32>
  %w = arith.addf %v, %v : f32
  memref.store %w, %y[%j, %i] : memref<2x4xf32>
  return
}

// CHECK-LABEL: func.func @kernels
func.func @kernels(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  // CHECK: "sparsity.dispatch"{{.*}}grid = array<i64: 4, 2, 1>{{.*}}kernel = @scale
  %y = "sparsity.dispatch"(%x) {kernel = @scale, grid = array<i64: 4, 2, 1>, operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0>} : (tensor<2x4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}
}
