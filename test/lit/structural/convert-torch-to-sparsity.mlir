// Torch ops become structural ops on builtin tensors; casts between two structural ops cancel.
// RUN: sparsity-opt %s --convert-torch-to-sparsity --split-input-file | FileCheck %s
// Running twice changes nothing.
// RUN: sparsity-opt %s --convert-torch-to-sparsity --convert-torch-to-sparsity --split-input-file | FileCheck %s

// A weight that is named stays named, and no cast is left between the layers.
// CHECK-LABEL: func.func @layers
// CHECK-SAME: (%[[ARG:.*]]: !torch.vtensor<[2,4],f32>)
// CHECK-DAG: %[[W:.*]] = "sparsity.weight"() {source = "first.weight"} : () -> tensor<8x4xf32>
// CHECK-DAG: %[[B:.*]] = "sparsity.weight"() {source = "first.bias"} : () -> tensor<8xf32>
// CHECK-DAG: %[[V:.*]] = "sparsity.weight"() {source = "second.weight"} : () -> tensor<4x8xf32>
// CHECK: %[[X:.*]] = torch_c.to_builtin_tensor %[[ARG]]
// CHECK: %[[Y:.*]] = "sparsity.linear"(%[[X]], %[[W]], %[[B]])
// CHECK-NOT: torch_c
// CHECK: %[[G:.*]] = "sparsity.activation"(%[[Y]]) {kind = "gelu"}
// CHECK-NOT: torch_c
// CHECK: %[[Z:.*]] = "sparsity.linear"(%[[G]], %[[V]])
// CHECK-SAME: operandSegmentSizes = array<i32: 1, 1, 0, 0>
// CHECK-NOT: torch_c
// CHECK: %[[S:.*]] = "sparsity.add"(%[[Z]], %[[X]])
// CHECK: %[[OUT:.*]] = torch_c.from_builtin_tensor %[[S]]
// CHECK-NEXT: return %[[OUT]]
func.func @layers(%x: !torch.vtensor<[2,4],f32>) -> !torch.vtensor<[2,4],f32> {
  %none = torch.constant.none
  %int1 = torch.constant.int 1
  %false = torch.constant.bool false
  %p = torch.constant.float 1.000000e-01
  %exact = torch.constant.str "none"
  %0 = "sparsity.weight"() {source = "first.weight"} : () -> tensor<8x4xf32>
  %w = torch_c.from_builtin_tensor %0 : tensor<8x4xf32> -> !torch.vtensor<[8,4],f32>
  %1 = "sparsity.weight"() {source = "first.bias"} : () -> tensor<8xf32>
  %b = torch_c.from_builtin_tensor %1 : tensor<8xf32> -> !torch.vtensor<[8],f32>
  %2 = "sparsity.weight"() {source = "second.weight"} : () -> tensor<4x8xf32>
  %v = torch_c.from_builtin_tensor %2 : tensor<4x8xf32> -> !torch.vtensor<[4,8],f32>
  %3 = torch.aten.linear %x, %w, %b : !torch.vtensor<[2,4],f32>, !torch.vtensor<[8,4],f32>, !torch.vtensor<[8],f32> -> !torch.vtensor<[2,8],f32>
  %4 = torch.aten.gelu %3, %exact : !torch.vtensor<[2,8],f32>, !torch.str -> !torch.vtensor<[2,8],f32>
  %5 = torch.aten.dropout %4, %p, %false : !torch.vtensor<[2,8],f32>, !torch.float, !torch.bool -> !torch.vtensor<[2,8],f32>
  %6 = torch.aten.linear %5, %v, %none : !torch.vtensor<[2,8],f32>, !torch.vtensor<[4,8],f32>, !torch.none -> !torch.vtensor<[2,4],f32>
  %7 = torch.aten.detach %6 : !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
  %8 = torch.aten.add.Tensor %7, %x, %int1 : !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32>, !torch.int -> !torch.vtensor<[2,4],f32>
  return %8 : !torch.vtensor<[2,4],f32>
}

// -----

// A norm without weight and bias gets ones and zeros.
// CHECK-LABEL: func.func @norms
// CHECK: %[[ONES:.*]] = "sparsity.weight"() {source = dense<1.000000e+00> : tensor<4xf32>}
// CHECK: %[[ZEROS:.*]] = "sparsity.weight"() {source = dense<0.000000e+00> : tensor<4xf32>}
// CHECK: "sparsity.layer_norm"(%{{.*}}, %[[ONES]], %[[ZEROS]]) {epsilon = 1.000000e-05 : f64
func.func @norms(%x: !torch.vtensor<[2,4],f32>) -> !torch.vtensor<[2,4],f32> {
  %none = torch.constant.none
  %int4 = torch.constant.int 4
  %false = torch.constant.bool false
  %epsilon = torch.constant.float 1.000000e-05
  %last = torch.prim.ListConstruct %int4 : (!torch.int) -> !torch.list<int>
  %0 = torch.aten.layer_norm %x, %last, %none, %none, %epsilon, %false : !torch.vtensor<[2,4],f32>, !torch.list<int>, !torch.none, !torch.none, !torch.float, !torch.bool -> !torch.vtensor<[2,4],f32>
  return %0 : !torch.vtensor<[2,4],f32>
}

// -----

// CHECK-LABEL: func.func @embeds
// CHECK: %[[IDS:.*]] = torch_c.to_builtin_tensor %{{.*}} -> tensor<1x3xi64>
// CHECK: "sparsity.embedding"(%[[IDS]], %{{.*}}) {{.*}} : (tensor<1x3xi64>, tensor<10x4xf32>) -> tensor<1x3x4xf32>
func.func @embeds(%ids: !torch.vtensor<[1,3],si64>, %table: !torch.vtensor<[10,4],f32>) -> !torch.vtensor<[1,3,4],f32> {
  %padding = torch.constant.int -1
  %false = torch.constant.bool false
  %0 = torch.aten.embedding %table, %ids, %padding, %false, %false : !torch.vtensor<[10,4],f32>, !torch.vtensor<[1,3],si64>, !torch.int, !torch.bool, !torch.bool -> !torch.vtensor<[1,3,4],f32>
  return %0 : !torch.vtensor<[1,3,4],f32>
}

// -----

// An integer literal is no weight.
// CHECK-LABEL: func.func @literals
// CHECK: arith.constant dense<[0, 1]> : tensor<2xi64>
// CHECK-NOT: sparsity.weight
func.func @literals() -> !torch.vtensor<[2],si64> {
  %0 = "sparsity.weight"() {source = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %1 = torch_c.from_builtin_tensor %0 : tensor<2xi64> -> !torch.vtensor<[2],si64>
  return %1 : !torch.vtensor<[2],si64>
}

// -----

// Activations written in arithmetic: x * sigmoid(x), and GELU with tanh.
// CHECK-LABEL: func.func @spelled_out
// CHECK: %[[X:.*]] = torch_c.to_builtin_tensor
// CHECK: %[[S:.*]] = "sparsity.activation"(%[[X]]) {kind = "silu"}
// CHECK: "sparsity.activation"(%[[S]]) {kind = "gelu_tanh"}
// CHECK-NOT: torch.aten
func.func @spelled_out(%x: !torch.vtensor<[2,4],f32>) -> !torch.vtensor<[2,4],f32> {
  %half = torch.constant.float 5.000000e-01
  %three = torch.constant.float 3.000000e+00
  %cubic = torch.constant.float 4.471500e-02
  %root = torch.constant.float 0.79788456080286541
  %one = torch.constant.float 1.000000e+00
  %int1 = torch.constant.int 1
  %0 = torch.aten.sigmoid %x : !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
  %1 = torch.aten.mul.Tensor %x, %0 : !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
  %2 = torch.aten.mul.Scalar %1, %half : !torch.vtensor<[2,4],f32>, !torch.float -> !torch.vtensor<[2,4],f32>
  %3 = torch.aten.pow.Tensor_Scalar %1, %three : !torch.vtensor<[2,4],f32>, !torch.float -> !torch.vtensor<[2,4],f32>
  %4 = torch.aten.mul.Scalar %3, %cubic : !torch.vtensor<[2,4],f32>, !torch.float -> !torch.vtensor<[2,4],f32>
  %5 = torch.aten.add.Tensor %1, %4, %int1 : !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32>, !torch.int -> !torch.vtensor<[2,4],f32>
  %6 = torch.aten.mul.Scalar %5, %root : !torch.vtensor<[2,4],f32>, !torch.float -> !torch.vtensor<[2,4],f32>
  %7 = torch.aten.tanh %6 : !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
  %8 = torch.aten.add.Scalar %7, %one, %int1 : !torch.vtensor<[2,4],f32>, !torch.float, !torch.int -> !torch.vtensor<[2,4],f32>
  %9 = torch.aten.mul.Tensor %2, %8 : !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
  return %9 : !torch.vtensor<[2,4],f32>
}
