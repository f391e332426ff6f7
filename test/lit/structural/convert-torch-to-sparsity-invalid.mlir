// What has no structural form is left to torch-mlir, unchanged.
// RUN: sparsity-opt %s --convert-torch-to-sparsity --split-input-file | FileCheck %s
// CHECK-NOT: "sparsity.

// Another precision.
// CHECK-LABEL: func.func @double
// CHECK: torch.aten.linear
// CHECK-NOT: "sparsity.
func.func @double(%x: !torch.vtensor<[2,4],f64>, %w: !torch.vtensor<[3,4],f64>) -> !torch.vtensor<[2,3],f64> {
  %none = torch.constant.none
  %0 = torch.aten.linear %x, %w, %none : !torch.vtensor<[2,4],f64>, !torch.vtensor<[3,4],f64>, !torch.none -> !torch.vtensor<[2,3],f64>
  return %0 : !torch.vtensor<[2,3],f64>
}

// -----

// A shape that is not static.
// CHECK-LABEL: func.func @dynamic
// CHECK: torch.aten.tanh
// CHECK-NOT: "sparsity.
func.func @dynamic(%x: !torch.vtensor<[?,4],f32>) -> !torch.vtensor<[?,4],f32> {
  %0 = torch.aten.tanh %x : !torch.vtensor<[?,4],f32> -> !torch.vtensor<[?,4],f32>
  return %0 : !torch.vtensor<[?,4],f32>
}

// -----

// Sums that broadcast, and sums that scale.
// CHECK-LABEL: func.func @sums
// CHECK: torch.aten.add.Tensor
// CHECK: torch.aten.add.Tensor
// CHECK-NOT: "sparsity.
func.func @sums(%x: !torch.vtensor<[2,4],f32>, %y: !torch.vtensor<[1,4],f32>) -> !torch.vtensor<[2,4],f32> {
  %int1 = torch.constant.int 1
  %int2 = torch.constant.int 2
  %0 = torch.aten.add.Tensor %x, %y, %int1 : !torch.vtensor<[2,4],f32>, !torch.vtensor<[1,4],f32>, !torch.int -> !torch.vtensor<[2,4],f32>
  %1 = torch.aten.add.Tensor %0, %x, %int2 : !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32>, !torch.int -> !torch.vtensor<[2,4],f32>
  return %1 : !torch.vtensor<[2,4],f32>
}

// -----

// A norm over two axes.
// CHECK-LABEL: func.func @two_axes
// CHECK: torch.aten.layer_norm
// CHECK-NOT: "sparsity.
func.func @two_axes(%x: !torch.vtensor<[2,3,4],f32>) -> !torch.vtensor<[2,3,4],f32> {
  %none = torch.constant.none
  %int3 = torch.constant.int 3
  %int4 = torch.constant.int 4
  %false = torch.constant.bool false
  %epsilon = torch.constant.float 1.000000e-05
  %axes = torch.prim.ListConstruct %int3, %int4 : (!torch.int, !torch.int) -> !torch.list<int>
  %0 = torch.aten.layer_norm %x, %axes, %none, %none, %epsilon, %false : !torch.vtensor<[2,3,4],f32>, !torch.list<int>, !torch.none, !torch.none, !torch.float, !torch.bool -> !torch.vtensor<[2,3,4],f32>
  return %0 : !torch.vtensor<[2,3,4],f32>
}

// -----

// Attention with dropout, and a softmax over queries.
// CHECK-LABEL: func.func @other_attention
// CHECK: torch.aten.scaled_dot_product_attention
// CHECK: torch.aten.softmax.int
// CHECK-NOT: "sparsity.
func.func @other_attention(%q: !torch.vtensor<[1,2,3,4],f32>, %k: !torch.vtensor<[1,2,4,3],f32>) -> !torch.vtensor<[1,2,3,4],f32> {
  %none = torch.constant.none
  %false = torch.constant.bool false
  %p = torch.constant.float 1.000000e-01
  %int2 = torch.constant.int 2
  %int3 = torch.constant.int 3
  %0 = torch.aten.scaled_dot_product_attention %q, %q, %q, %none, %p, %false, %none, %false : !torch.vtensor<[1,2,3,4],f32>, !torch.vtensor<[1,2,3,4],f32>, !torch.vtensor<[1,2,3,4],f32>, !torch.none, !torch.float, !torch.bool, !torch.none, !torch.bool -> !torch.vtensor<[1,2,3,4],f32>
  %1 = torch.aten.transpose.int %0, %int2, %int3 : !torch.vtensor<[1,2,3,4],f32>, !torch.int, !torch.int -> !torch.vtensor<[1,2,4,3],f32>
  %2 = torch.aten.matmul %q, %1 : !torch.vtensor<[1,2,3,4],f32>, !torch.vtensor<[1,2,4,3],f32> -> !torch.vtensor<[1,2,3,3],f32>
  %3 = torch.aten.softmax.int %2, %int2, %none : !torch.vtensor<[1,2,3,3],f32>, !torch.int, !torch.none -> !torch.vtensor<[1,2,3,3],f32>
  %4 = torch.aten.matmul %3, %0 : !torch.vtensor<[1,2,3,3],f32>, !torch.vtensor<[1,2,3,4],f32> -> !torch.vtensor<[1,2,3,4],f32>
  return %4 : !torch.vtensor<[1,2,3,4],f32>
}

// -----

// Dropout that is at work, and a transposition that does not undo the one before it.
// CHECK-LABEL: func.func @kept
// CHECK: torch.aten.dropout
// CHECK: torch.aten.transpose.int
// CHECK: torch.aten.transpose.int
func.func @kept(%x: !torch.vtensor<[2,2,2],f32>) -> !torch.vtensor<[2,2,2],f32> {
  %true = torch.constant.bool true
  %p = torch.constant.float 1.000000e-01
  %int0 = torch.constant.int 0
  %int1 = torch.constant.int 1
  %int2 = torch.constant.int 2
  %0 = torch.aten.dropout %x, %p, %true : !torch.vtensor<[2,2,2],f32>, !torch.float, !torch.bool -> !torch.vtensor<[2,2,2],f32>
  %1 = torch.aten.transpose.int %0, %int0, %int1 : !torch.vtensor<[2,2,2],f32>, !torch.int, !torch.int -> !torch.vtensor<[2,2,2],f32>
  %2 = torch.aten.transpose.int %1, %int1, %int2 : !torch.vtensor<[2,2,2],f32>, !torch.int, !torch.int -> !torch.vtensor<[2,2,2],f32>
  return %2 : !torch.vtensor<[2,2,2],f32>
}
