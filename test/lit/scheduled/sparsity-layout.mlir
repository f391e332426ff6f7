// RUN: sparsity-opt %s --sparsity-layout --split-input-file | FileCheck %s
// RUN: sparsity-opt %s --sparsity-layout --sparsity-layout --split-input-file | FileCheck %s

// Two neighbours: one change of layout before, one after, none between. 128 tokens fill two panels of 64.
// CHECK-LABEL: func.func @chain
// CHECK-SAME: (%[[X:.*]]: tensor<1x128x8xf32>
func.func @chain(%x: tensor<1x128x8xf32>, %g: tensor<8xf32>) -> tensor<1x128x8xf32> {
  // CHECK: %[[P:.*]] = "sparsity.to_panels"(%[[X]]) {layout = #sparsity.layout<{inner = 1 : i64, panel = 64 : i64}>}{{.*}} -> tensor<1x2x8x64xf32>
  // CHECK: %[[A:.*]] = "sparsity.activation"(%[[P]]){{.*}} -> tensor<1x2x8x64xf32>
  // CHECK: %[[N:.*]] = "sparsity.layer_norm"(%[[A]], %{{.*}}, %{{.*}}, %[[P]])
  // CHECK: %[[Y:.*]] = "sparsity.from_panels"(%[[N]])
  // CHECK-NEXT: return %[[Y]]
  %a = "sparsity.activation"(%x) {kind = "relu"} : (tensor<1x128x8xf32>) -> tensor<1x128x8xf32>
  %n = "sparsity.layer_norm"(%a, %g, %g, %x) {epsilon = 1.0e-5 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1>} : (tensor<1x128x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<1x128x8xf32>) -> tensor<1x128x8xf32>
  return %n : tensor<1x128x8xf32>
}

// -----

// 37 tokens waste least in three panels of 16; two dimensions are a batch of one.
// CHECK-LABEL: func.func @short
func.func @short(%x: tensor<37x8xf32>) -> tensor<37x8xf32> {
  // CHECK: tensor.expand_shape
  // CHECK: "sparsity.activation"{{.*}} -> tensor<1x3x8x16xf32>
  // CHECK: tensor.collapse_shape
  %a = "sparsity.activation"(%x) {kind = "relu"} : (tensor<37x8xf32>) -> tensor<37x8xf32>
  return %a : tensor<37x8xf32>
}

// -----

// Keys that are padding must not be seen: without a key bias one is made, a full bias is transposed and padded.
// CHECK-LABEL: func.func @attention
// CHECK-SAME: (%{{.*}}: tensor<1x14x8xf32>, %[[BIAS:.*]]: tensor<1x2x14x14xf32>)
func.func @attention(%q: tensor<1x14x8xf32>, %bias: tensor<1x2x14x14xf32>) -> tensor<1x14x8xf32> {
  // CHECK: %[[PAD:.*]] = tensor.pad %[[BIAS]]
  // CHECK: %[[T:.*]] = linalg.transpose ins(%[[PAD]] : tensor<1x2x16x16xf32>){{.*}} permutation = [0, 1, 3, 2]
  // CHECK: %[[KEYS:.*]] = arith.constant dense<{{.*}}0.000000e+00, 0xFF800000, 0xFF800000]]> : tensor<1x16xf32>
  // CHECK: "sparsity.attention"(%[[Q:.*]], %[[Q]], %[[Q]], %[[KEYS]], %[[T]])
  // CHECK-SAME: operandSegmentSizes = array<i32: 1, 1, 1, 1, 1>
  %a = "sparsity.attention"(%q, %q, %q, %bias) {heads = 2 : i64, kv_heads = 2 : i64, scale = 1.0 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0, 1>} : (tensor<1x14x8xf32>, tensor<1x14x8xf32>, tensor<1x14x8xf32>, tensor<1x2x14x14xf32>) -> tensor<1x14x8xf32>
  return %a : tensor<1x14x8xf32>
}

// -----

// Four dimensions are no sequence, and f64 has no kernels.
// CHECK-LABEL: func.func @left_alone
// CHECK-NOT: panels
func.func @left_alone(%x: tensor<1x2x3x4xf32>, %d: tensor<3x4xf64>) -> (tensor<1x2x3x4xf32>, tensor<3x4xf64>) {
  %a = "sparsity.activation"(%x) {kind = "relu"} : (tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  %b = "sparsity.activation"(%d) {kind = "relu"} : (tensor<3x4xf64>) -> tensor<3x4xf64>
  return %a, %b : tensor<1x2x3x4xf32>, tensor<3x4xf64>
}
