// Rows of bytes get activations of bytes: a scale and a rounding for each token, shared by the layers that read it.
// DEFINE: %{pack} = --sparsity-number-format="weights=int8 arithmetic=int8" --sparsity-schedule=row-tile=2 --sparsity-pack --sparsity-layout --sparsity-eliminate-loads --sparsity-quantize
// RUN: sparsity-opt %s --split-input-file %{pack} --sparsity-quantize-activations | FileCheck %s
// RUN: sparsity-opt %s --split-input-file %{pack} --sparsity-quantize-activations --sparsity-quantize-activations | FileCheck %s
// RUN: sparsity-opt %s --split-input-file %{pack} --sparsity-quantize-activations --statistics=json -o /dev/null 2>&1 | FileCheck %s --check-prefix=STATS

// Row 0 keeps one of the columns 0 to 3, row 1 one of 4 to 7: each is stored with the three zeros beside it.
// STATS: "activations": 1
// STATS-NEXT: "layers": 2
// CHECK-LABEL: func.func @main
// CHECK: %[[P:.*]] = "sparsity.to_panels"
// CHECK: %[[S:.*]] = "sparsity.token_scales"(%[[P]]) {{.*}} : (tensor<1x1x8x16xf32>) -> tensor<1x1x16xf32>
// CHECK: %[[Q:.*]] = "sparsity.quantize_tokens"(%[[P]], %[[S]]) {layout = #sparsity.layout<{inner = 4 : i64, panel = 16 : i64}>, zero_point = 128 : i64} : {{.*}} -> tensor<1x1x2x16x4xi8>
// CHECK: %[[VALUES:.*]] = "sparsity.weight"() {source = dense<[0, 127, 0, 0, 0, 0, -127, 0, 0, 0, 0, {{.*}}]> : tensor<72xi8>}
// CHECK: %[[COLUMNS:.*]] = "sparsity.weight"() {source = dense<[0, 1]> : tensor<2xi32>}
// CHECK: %[[STARTS:.*]] = "sparsity.weight"() {source = dense<[-16256, 16256]> : tensor<2xi32>}
// CHECK: "sparsity.quantized_linear"(%[[Q]], %[[S]], %[[VALUES]], %[[COLUMNS]], {{[^)]*}}, %[[STARTS]], %{{[0-9]+}})
// CHECK-SAME: zero_point = 128
// CHECK-NOT: sparsity.numbers
// CHECK: "sparsity.quantized_linear"(%[[Q]], %[[S]]
// CHECK-NOT: sparsity.packed_linear
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 64 : i64, registers = 32 : i64, dot = "vpdpbusd"}>} {
func.func @main(%x: tensor<1x16x8xf32>) -> (tensor<1x16x2xf32>, tensor<1x16x2xf32>) {
  %w = "sparsity.weight"() {source = dense<[[0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0]]> : tensor<2x8xf32>} : () -> tensor<2x8xf32>
  %v = "sparsity.weight"() {source = dense<1.0> : tensor<2x8xf32>} : () -> tensor<2x8xf32>
  %y = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x16x8xf32>, tensor<2x8xf32>) -> tensor<1x16x2xf32>
  %z = "sparsity.linear"(%x, %v) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x16x8xf32>, tensor<2x8xf32>) -> tensor<1x16x2xf32>
  return %y, %z : tensor<1x16x2xf32>, tensor<1x16x2xf32>
}
}

// -----

// Without a target, activations are signed. Six columns are no fours: that layer reads its bytes as f32.
// STATS: "left-in-f32": 1
// CHECK-LABEL: func.func @six
// CHECK: "sparsity.packed_linear"
// CHECK-NOT: sparsity.numbers
// CHECK: "sparsity.quantized_linear"
// CHECK-SAME: zero_point = 0
func.func @six(%x: tensor<1x16x6xf32>) -> tensor<1x16x2xf32> {
  %w = "sparsity.weight"() {source = dense<1.0> : tensor<4x6xf32>} : () -> tensor<4x6xf32>
  %v = "sparsity.weight"() {source = dense<1.0> : tensor<2x4xf32>} : () -> tensor<2x4xf32>
  %y = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x16x6xf32>, tensor<4x6xf32>) -> tensor<1x16x4xf32>
  %z = "sparsity.linear"(%y, %v) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x16x4xf32>, tensor<2x4xf32>) -> tensor<1x16x2xf32>
  return %z : tensor<1x16x2xf32>
}
