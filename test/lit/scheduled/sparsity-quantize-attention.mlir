// Attention of a model in int8 multiplies bytes: keys and values are rounded by an op of their own.
// DEFINE: %{pass} = --sparsity-number-format="weights=int8 arithmetic=int8" --sparsity-layout --sparsity-quantize-attention
// RUN: sparsity-opt %s --split-input-file %{pass} | FileCheck %s
// RUN: sparsity-opt %s --split-input-file %{pass} --sparsity-quantize-attention | FileCheck %s
// RUN: sparsity-opt %s --split-input-file %{pass} --check-semantics --check-tolerance=0.05 -o /dev/null
// RUN: sparsity-opt %s --split-input-file %{pass} --statistics=json -o /dev/null 2>&1 | FileCheck %s --check-prefix=STATS
// RUN: sparsity-opt %s --split-input-file --sparsity-layout --sparsity-quantize-attention | FileCheck %s --check-prefix=F32

// A merged tensor stays one; the mask and the place of the query go along.
// STATS: "attentions": 1
// CHECK-LABEL: func.func @main
// CHECK: %[[X:.*]] = "sparsity.to_panels"
// CHECK: %[[B:.*]] = "sparsity.quantize_heads"(%[[X]], %[[X]])
// CHECK-SAME: depth = 8 : i64, kv_heads = 2 : i64
// CHECK-SAME: offsets = [16, 32]
// CHECK-SAME: value_depth = 8 : i64, zero_point = 128 : i64
// CHECK-SAME: -> tensor<1x1x2x384xi8>
// CHECK: "sparsity.quantized_attention"(%[[X]], %[[B]], %arg1)
// CHECK-SAME: causal = true, depth = 8 : i64, heads = 2 : i64, kv_heads = 2 : i64
// CHECK-SAME: offset = 0 : i64
// CHECK-SAME: scale = 3.500000e-01 : f64
// CHECK-NOT: sparsity.numbers
// CHECK-NOT: sparsity.attention
// F32-NOT: sparsity.quantize
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 64 : i64, registers = 32 : i64, dot = "vpdpbusd"}>} {
func.func @main(%x: tensor<1x16x48xf32>, %m: tensor<1x16xf32>) -> tensor<1x16x16xf32> {
  %y = "sparsity.attention"(%x, %x, %x, %m) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.35 : f64, causal = true, offsets = [0, 16, 32], depth = 8 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<1x16x48xf32>, tensor<1x16x48xf32>, tensor<1x16x48xf32>, tensor<1x16xf32>) -> tensor<1x16x16xf32>
  return %y : tensor<1x16x16xf32>
}
}

// -----

// Arm multiplies signed bytes.
// CHECK-LABEL: func.func @signed
// CHECK: "sparsity.quantize_heads"
// CHECK-SAME: zero_point = 0
// CHECK: "sparsity.quantized_attention"
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 16 : i64, registers = 32 : i64, dot = "sdot"}>} {
func.func @signed(%x: tensor<1x16x8xf32>) -> tensor<1x16x8xf32> {
  %y = "sparsity.attention"(%x, %x, %x) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x16x8xf32>, tensor<1x16x8xf32>, tensor<1x16x8xf32>) -> tensor<1x16x8xf32>
  return %y : tensor<1x16x8xf32>
}
}

// -----

// A depth of six is no fours, and no instruction is known here.
// STATS: "left-in-f32": 1
// CHECK-LABEL: func.func @six
// CHECK-NOT: sparsity.numbers
// CHECK: "sparsity.attention"
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 16 : i64, registers = 32 : i64, dot = "sdot"}>} {
func.func @six(%x: tensor<1x16x12xf32>) -> tensor<1x16x12xf32> {
  %y = "sparsity.attention"(%x, %x, %x) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x16x12xf32>, tensor<1x16x12xf32>, tensor<1x16x12xf32>) -> tensor<1x16x12xf32>
  return %y : tensor<1x16x12xf32>
}
}

// -----

// STATS: "left-in-f32": 1
// CHECK-LABEL: func.func @no_instruction
// CHECK-NOT: sparsity.numbers
// CHECK: "sparsity.attention"
func.func @no_instruction(%x: tensor<1x16x8xf32>) -> tensor<1x16x8xf32> {
  %y = "sparsity.attention"(%x, %x, %x) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x16x8xf32>, tensor<1x16x8xf32>, tensor<1x16x8xf32>) -> tensor<1x16x8xf32>
  return %y : tensor<1x16x8xf32>
}
