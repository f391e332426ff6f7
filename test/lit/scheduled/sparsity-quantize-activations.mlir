// Rows of bytes get activations of bytes: a scale and a rounding for each token, shared by the layers that read it.
// DEFINE: %{pack} = --sparsity-number-format="weights=int8 arithmetic=int8" --sparsity-schedule=row-tile=2 --sparsity-pack --sparsity-layout --sparsity-eliminate-loads --sparsity-quantize
// RUN: sparsity-opt %s --split-input-file %{pack} --sparsity-quantize-activations | FileCheck %s
// RUN: sparsity-opt %s --split-input-file %{pack} --sparsity-quantize-activations --sparsity-quantize-activations | FileCheck %s
// RUN: sparsity-opt %s --split-input-file %{pack} --sparsity-quantize-activations --statistics=json -o /dev/null 2>&1 | FileCheck %s --check-prefix=STATS

// The first layer keeps columns that are no fours: it reads rows of bytes, its list is filled up to four with a column
// that is there and weights of zero. The second reads quads; they share the scales.
// STATS: "activations": 1
// STATS-NEXT: "layers-in-rows": 1
// STATS-NEXT: "padding-values": 2
// STATS-NEXT: "layers-in-quads": 1
// CHECK-LABEL: func.func @main
// CHECK: %[[P:.*]] = "sparsity.to_panels"
// CHECK: %[[S:.*]] = "sparsity.token_scales"(%[[P]]) {{.*}} : (tensor<1x1x8x64xf32>) -> tensor<1x1x64xf32>
// CHECK-DAG: %[[Q:.*]] = "sparsity.quantize_tokens"(%[[P]], %[[S]]) {layout = #sparsity.layout<{inner = 4 : i64, panel = 64 : i64}>, zero_point = 128 : i64} : {{.*}} -> tensor<1x1x2x64x4xi8>
// CHECK-DAG: %[[R:.*]] = "sparsity.quantize_tokens"(%[[P]], %[[S]]) {lanes = 16 : i64, layout = #sparsity.layout<{inner = 1 : i64, panel = 64 : i64}>, zero_point = 128 : i64} : {{.*}} -> tensor<1x1x8x64xi8>
// Four weights of row 0, then four of row 1. Columns are the places of their 64 tokens.
// CHECK: %[[VALUES:.*]] = "sparsity.weight"() {source = dense<[64, 127, 127, 0, -127, 64, -64, 0, 0, {{.*}}]> : tensor<72xi8>}
// CHECK: %[[COLUMNS:.*]] = "sparsity.weight"() {source = dense<[64, 192, 384, 384]> : tensor<4xi32>}
// CHECK: %[[STARTS:.*]] = "sparsity.weight"() {source = dense<[-40704, 16256]> : tensor<2xi32>}
// CHECK: "sparsity.quantized_linear"(%[[R]], %[[S]], %[[VALUES]], %[[COLUMNS]], {{[^)]*}}, %[[STARTS]], %{{[0-9]+}})
// CHECK-SAME: lanes = 16
// CHECK-SAME: zero_point = 128
// CHECK-NOT: sparsity.numbers
// CHECK: "sparsity.quantized_linear"(%[[Q]], %[[S]]
// CHECK-NOT: sparsity.packed_linear
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 64 : i64, registers = 32 : i64, dot = "vpdpbusd"}>} {
func.func @main(%x: tensor<1x64x8xf32>) -> (tensor<1x64x2xf32>, tensor<1x64x2xf32>) {
  %w = "sparsity.weight"() {source = dense<[[0.0, 1.0, 0.0, 2.0, 0.0, 0.0, 2.0, 0.0], [0.0, -2.0, 0.0, 1.0, 0.0, 0.0, -1.0, 0.0]]> : tensor<2x8xf32>} : () -> tensor<2x8xf32>
  %v = "sparsity.weight"() {source = dense<1.0> : tensor<2x8xf32>} : () -> tensor<2x8xf32>
  %y = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x64x8xf32>, tensor<2x8xf32>) -> tensor<1x64x2xf32>
  %z = "sparsity.linear"(%x, %v) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x64x8xf32>, tensor<2x8xf32>) -> tensor<1x64x2xf32>
  return %y, %z : tensor<1x64x2xf32>, tensor<1x64x2xf32>
}
}

// -----

// Without a target, activations are signed, and rows are in the order of tokens. Six columns are no fours.
// STATS: "layers-in-rows": 1
// CHECK-LABEL: func.func @six
// CHECK: "sparsity.quantize_tokens"
// CHECK-NOT: lanes
// CHECK: "sparsity.quantized_linear"
// CHECK-SAME: zero_point = 0
// CHECK: "sparsity.quantized_linear"
// CHECK-NOT: sparsity.numbers
func.func @six(%x: tensor<1x16x6xf32>) -> tensor<1x16x2xf32> {
  %w = "sparsity.weight"() {source = dense<1.0> : tensor<4x6xf32>} : () -> tensor<4x6xf32>
  %v = "sparsity.weight"() {source = dense<1.0> : tensor<2x4xf32>} : () -> tensor<2x4xf32>
  %y = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x16x6xf32>, tensor<4x6xf32>) -> tensor<1x16x4xf32>
  %z = "sparsity.linear"(%y, %v) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x16x4xf32>, tensor<2x4xf32>) -> tensor<1x16x2xf32>
  return %z : tensor<1x16x2xf32>
}

// -----

// Segments that are no weight of the module are not known: the layer reads its weights as f32.
// STATS: "left-in-f32": 1
// CHECK-LABEL: func.func @unknown
// CHECK: "sparsity.packed_linear"
// CHECK-NOT: sparsity.numbers
func.func @unknown(%x: tensor<1x1x4x16xf32>, %g: tensor<1x1x2xi32>) -> tensor<1x1x2x16xf32> {
  %v = "sparsity.weight"() {source = dense<1> : tensor<24xi8>} : () -> tensor<24xi8>
  %c = "sparsity.weight"() {source = dense<[0, 1, 2, 3]> : tensor<4xi32>} : () -> tensor<4xi32>
  %o = "sparsity.weight"() {source = dense<0> : tensor<1xi32>} : () -> tensor<1xi32>
  %r = "sparsity.weight"() {source = dense<[[0, 1]]> : tensor<1x2xi32>} : () -> tensor<1x2xi32>
  %w = "sparsity.weight"() {source = dense<[0, 1]> : tensor<2xi32>} : () -> tensor<2xi32>
  %s = "sparsity.weight"() {source = dense<1.0> : tensor<2xf32>} : () -> tensor<2xf32>
  %y = "sparsity.packed_linear"(%x, %v, %c, %g, %o, %r, %w, %s) {row_tile = 2 : i64, row_masks = [3], sparsity.numbers = #sparsity.numbers<{arithmetic = "int8", weights = "int8"}>, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 1>} : (tensor<1x1x4x16xf32>, tensor<24xi8>, tensor<4xi32>, tensor<1x1x2xi32>, tensor<1xi32>, tensor<1x2xi32>, tensor<2xi32>, tensor<2xf32>) -> tensor<1x1x2x16xf32>
  return %y : tensor<1x1x2x16xf32>
}

// -----

// Where matrices of two rows are multiplied, runs are of eight columns: x in groups of eight where lists are made of them,
// else lists of fours, filled up to eight with a four that is there.
// STATS: "layers-in-quads": 2
// CHECK-LABEL: func.func @matrices
// CHECK-DAG: "sparsity.quantize_tokens"{{.*}}inner = 8{{.*}} -> tensor<1x1x1x64x8xi8>
// CHECK-DAG: "sparsity.quantize_tokens"{{.*}}inner = 4{{.*}} -> tensor<1x1x2x64x4xi8>
// CHECK: source = dense<0> : tensor<1xi32>
// CHECK: "sparsity.quantized_linear"
// CHECK-SAME: run = 8
// CHECK: source = dense<256> : tensor<2xi32>
// CHECK: "sparsity.quantized_linear"
// CHECK-SAME: run = 8
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 16 : i64, registers = 32 : i64, dot = "smmla"}>} {
func.func @matrices(%x: tensor<1x64x8xf32>) -> (tensor<1x64x8xf32>, tensor<1x64x8xf32>) {
  %w = "sparsity.weight"() {source = dense<1.0> : tensor<8x8xf32>} : () -> tensor<8x8xf32>
  %v = "sparsity.weight"() {source = dense<[[0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]]> : tensor<8x8xf32>} : () -> tensor<8x8xf32>
  %y = "sparsity.linear"(%x, %w) {sparsity.schedule = #sparsity.schedule<{row_tile = 8 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x64x8xf32>, tensor<8x8xf32>) -> tensor<1x64x8xf32>
  %z = "sparsity.linear"(%x, %v) {sparsity.schedule = #sparsity.schedule<{row_tile = 8 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x64x8xf32>, tensor<8x8xf32>) -> tensor<1x64x8xf32>
  return %y, %z : tensor<1x64x8xf32>, tensor<1x64x8xf32>
}
}
