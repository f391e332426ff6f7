// RUN: sparsity-opt %s --sparsity-fuse --split-input-file --check-semantics | FileCheck %s
// RUN: sparsity-opt %s --sparsity-fuse=rewrites=false --split-input-file | FileCheck %s --check-prefix=KEPT

// A scale behind a linear disappears into its weight and bias.
// CHECK-LABEL: func.func @scaled
// CHECK-SAME: (%[[X:.*]]: tensor<2x2xf32>)
// CHECK: %[[W:.*]] = "sparsity.weight"() {source = dense<{{\[\[}}5.000000e-01, 0.000000e+00], [1.500000e+00, 2.000000e+00]]> : tensor<2x2xf32>, sparsity.encoding = #sparsity.unstructured<{}>}
// CHECK: %[[B:.*]] = "sparsity.weight"() {source = dense<[2.500000e+00, 3.000000e+00]> : tensor<2xf32>}
// CHECK: %[[Y:.*]] = "sparsity.linear"(%[[X]], %[[W]], %[[B]])
// CHECK-NOT: linalg.generic
// CHECK: return %[[Y]]
// KEPT-LABEL: func.func @scaled
// KEPT: linalg.generic
func.func @scaled(%x: tensor<2x2xf32>) -> tensor<2x2xf32> {
  %w = "sparsity.weight"() {source = dense<[[1.0, 0.0], [3.0, 4.0]]> : tensor<2x2xf32>, sparsity.encoding = #sparsity.unstructured<{}>} : () -> tensor<2x2xf32>
  %b = "sparsity.weight"() {source = dense<[5.0, 6.0]> : tensor<2xf32>} : () -> tensor<2xf32>
  %half = arith.constant 0.5 : f32
  %h = "sparsity.linear"(%x, %w, %b) {operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<2x2xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<2x2xf32>
  %e = tensor.empty() : tensor<2x2xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%h : tensor<2x2xf32>) outs(%e : tensor<2x2xf32>) {
  ^bb0(%in: f32, %out: f32):
    %s = arith.mulf %in, %half : f32
    linalg.yield %s : f32
  } -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}

// -----

// The constants of a sum become one, and the sum joins the layer norm that reads it.
// CHECK-LABEL: func.func @sum
// CHECK-SAME: (%[[X:.*]]: tensor<2x2xf32>)
// CHECK: %[[C:.*]] = "sparsity.weight"() {source = dense<{{\[\[}}1.100000e+01, 2.200000e+01], [1.300000e+01, 2.400000e+01]]> : tensor<2x2xf32>}
// CHECK-NOT: linalg.generic
// CHECK-NOT: sparsity.add
// CHECK: "sparsity.layer_norm"(%[[C]], %{{.*}}, %{{.*}}, %[[X]])
// KEPT-LABEL: func.func @sum
// KEPT: "sparsity.add"
// KEPT: linalg.generic
func.func @sum(%x: tensor<2x2xf32>) -> tensor<2x2xf32> {
  %c = "sparsity.weight"() {source = dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>} : () -> tensor<2x2xf32>
  %d = "sparsity.weight"() {source = dense<[10.0, 20.0]> : tensor<2xf32>} : () -> tensor<2xf32>
  %a = "sparsity.add"(%x, %c) : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  %e = tensor.empty() : tensor<2x2xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%a, %d : tensor<2x2xf32>, tensor<2xf32>) outs(%e : tensor<2x2xf32>) {
  ^bb0(%in: f32, %other: f32, %out: f32):
    %s = arith.addf %in, %other : f32
    linalg.yield %s : f32
  } -> tensor<2x2xf32>
  %n = "sparsity.layer_norm"(%y, %d, %d) {epsilon = 1.0e-5 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<2x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<2x2xf32>
  return %n : tensor<2x2xf32>
}

// -----

// (linear + linear) + x: each linear adds what came before it; no addition is left.
// CHECK-LABEL: func.func @parallel_branches
// CHECK-SAME: (%[[X:.*]]: tensor<3x2xf32>)
// CHECK: %[[A:.*]] = "sparsity.linear"(%[[X]], %{{.*}}, %[[X]]) {operandSegmentSizes = array<i32: 1, 1, 0, 1>}
// CHECK: %[[B:.*]] = "sparsity.linear"(%[[X]], %{{.*}}, %[[A]]) {activation = "relu", operandSegmentSizes = array<i32: 1, 1, 0, 1>}
// CHECK: return %[[B]]
// KEPT-LABEL: func.func @parallel_branches
// KEPT: "sparsity.add"
func.func @parallel_branches(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %v = "sparsity.weight"() {source = dense<[[1.0, 0.0], [3.0, 4.0]]> : tensor<2x2xf32>} : () -> tensor<2x2xf32>
  %w = "sparsity.weight"() {source = dense<[[1.0, 2.0], [0.0, 4.0]]> : tensor<2x2xf32>} : () -> tensor<2x2xf32>
  %a = "sparsity.linear"(%x, %v) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  %h = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  %b = "sparsity.activation"(%h) {kind = "relu"} : (tensor<3x2xf32>) -> tensor<3x2xf32>
  %s = "sparsity.add"(%a, %b) : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<3x2xf32>
  %y = "sparsity.add"(%s, %x) : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}

// -----

// Two linears in a row collapse where their product multiplies less, and stay where it would be dense.
// CHECK-LABEL: func.func @chain
// CHECK: "sparsity.weight"() {source = dense<8.000000e+00> : tensor<2x2xf32>, sparsity.encoding = #sparsity.dense<{}>}
// CHECK-COUNT-1: "sparsity.linear"
// CHECK-NOT: "sparsity.linear"
// CHECK: return
// CHECK-LABEL: func.func @bottleneck
// CHECK-COUNT-2: "sparsity.linear"
func.func @chain(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %v = "sparsity.weight"() {source = dense<1.0> : tensor<4x2xf32>} : () -> tensor<4x2xf32>
  %w = "sparsity.weight"() {source = dense<2.0> : tensor<2x4xf32>} : () -> tensor<2x4xf32>
  %a = "sparsity.linear"(%x, %v) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<3x2xf32>, tensor<4x2xf32>) -> tensor<3x4xf32>
  %b = "sparsity.linear"(%a, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<3x4xf32>, tensor<2x4xf32>) -> tensor<3x2xf32>
  return %b : tensor<3x2xf32>
}
func.func @bottleneck(%x: tensor<3x4xf32>) -> tensor<3x4xf32> {
  %v = "sparsity.weight"() {source = dense<1.0> : tensor<1x4xf32>} : () -> tensor<1x4xf32>
  %w = "sparsity.weight"() {source = dense<2.0> : tensor<4x1xf32>} : () -> tensor<4x1xf32>
  %a = "sparsity.linear"(%x, %v) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<3x4xf32>, tensor<1x4xf32>) -> tensor<3x1xf32>
  %b = "sparsity.linear"(%a, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<3x1xf32>, tensor<4x1xf32>) -> tensor<3x4xf32>
  return %b : tensor<3x4xf32>
}
