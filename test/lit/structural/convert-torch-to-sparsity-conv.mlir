// Convolutions become one op, and a batch norm behind one disappears into its weight and bias.
// RUN: sparsity-opt %s --convert-torch-to-sparsity --split-input-file | FileCheck %s
// RUN: sparsity-opt %s --convert-torch-to-sparsity --split-input-file --statistics=json 2>&1 >/dev/null | FileCheck %s --check-prefix=STAT

// The scale is 3 / sqrt(2.0 + 2.0) = 1.5, the bias 1.5 * (0.5 - 1.5) + 4 = 2.5.
// STAT: "batch-norms-folded": 1
// STAT: "conv": 1
// CHECK-LABEL: func.func @folded
// CHECK: %[[W:.*]] = "sparsity.weight"() {source = dense<3.000000e+00> : tensor<2x1x3x3xf32>}
// CHECK: %[[B:.*]] = "sparsity.weight"() {source = dense<2.500000e+00> : tensor<2xf32>}
// CHECK: "sparsity.conv"(%{{.*}}, %[[W]], %[[B]])
// CHECK-SAME: dilation = [1, 1], groups = 2 : i64
// CHECK-SAME: padding = [1, 1, 1, 1], strides = [2, 2]
// CHECK-SAME: (tensor<1x2x5x5xf32>, tensor<2x1x3x3xf32>, tensor<2xf32>) -> tensor<1x2x3x3xf32>
// CHECK-NOT: batch_norm
func.func @folded(%x: !torch.vtensor<[1,2,5,5],f32>) -> !torch.vtensor<[1,2,3,3],f32> {
  %w = "sparsity.weight"() {source = dense<2.0> : tensor<2x1x3x3xf32>} : () -> tensor<2x1x3x3xf32>
  %half = "sparsity.weight"() {source = dense<0.5> : tensor<2xf32>} : () -> tensor<2xf32>
  %g = "sparsity.weight"() {source = dense<3.0> : tensor<2xf32>} : () -> tensor<2xf32>
  %s = "sparsity.weight"() {source = dense<4.0> : tensor<2xf32>} : () -> tensor<2xf32>
  %m = "sparsity.weight"() {source = dense<1.5> : tensor<2xf32>} : () -> tensor<2xf32>
  %v = "sparsity.weight"() {source = dense<2.0> : tensor<2xf32>} : () -> tensor<2xf32>
  %tw = torch_c.from_builtin_tensor %w : tensor<2x1x3x3xf32> -> !torch.vtensor<[2,1,3,3],f32>
  %tb = torch_c.from_builtin_tensor %half : tensor<2xf32> -> !torch.vtensor<[2],f32>
  %tg = torch_c.from_builtin_tensor %g : tensor<2xf32> -> !torch.vtensor<[2],f32>
  %ts = torch_c.from_builtin_tensor %s : tensor<2xf32> -> !torch.vtensor<[2],f32>
  %tm = torch_c.from_builtin_tensor %m : tensor<2xf32> -> !torch.vtensor<[2],f32>
  %tv = torch_c.from_builtin_tensor %v : tensor<2xf32> -> !torch.vtensor<[2],f32>
  %false = torch.constant.bool false
  %int1 = torch.constant.int 1
  %int2 = torch.constant.int 2
  %epsilon = torch.constant.float 2.000000e+00
  %momentum = torch.constant.float 1.000000e-01
  %strides = torch.prim.ListConstruct %int2, %int2 : (!torch.int, !torch.int) -> !torch.list<int>
  %ones = torch.prim.ListConstruct %int1, %int1 : (!torch.int, !torch.int) -> !torch.list<int>
  %empty = torch.prim.ListConstruct : () -> !torch.list<int>
  %0 = torch.aten.convolution %x, %tw, %tb, %strides, %ones, %ones, %false, %empty, %int2 : !torch.vtensor<[1,2,5,5],f32>, !torch.vtensor<[2,1,3,3],f32>, !torch.vtensor<[2],f32>, !torch.list<int>, !torch.list<int>, !torch.list<int>, !torch.bool, !torch.list<int>, !torch.int -> !torch.vtensor<[1,2,3,3],f32>
  %1 = torch.aten.batch_norm %0, %tg, %ts, %tm, %tv, %false, %momentum, %epsilon, %false : !torch.vtensor<[1,2,3,3],f32>, !torch.vtensor<[2],f32>, !torch.vtensor<[2],f32>, !torch.vtensor<[2],f32>, !torch.vtensor<[2],f32>, !torch.bool, !torch.float, !torch.float, !torch.bool -> !torch.vtensor<[1,2,3,3],f32>
  return %1 : !torch.vtensor<[1,2,3,3],f32>
}

// -----

// Another reader of the convolution needs it without the batch norm.
// CHECK-LABEL: func.func @shared
// CHECK: "sparsity.conv"
// CHECK: torch.aten.batch_norm
func.func @shared(%x: !torch.vtensor<[1,1,3],f32>, %tw: !torch.vtensor<[1,1,1],f32>, %tg: !torch.vtensor<[1],f32>) -> (!torch.vtensor<[1,1,3],f32>, !torch.vtensor<[1,1,3],f32>) {
  %none = torch.constant.none
  %false = torch.constant.bool false
  %int0 = torch.constant.int 0
  %int1 = torch.constant.int 1
  %epsilon = torch.constant.float 1.000000e-05
  %zeros = torch.prim.ListConstruct %int0 : (!torch.int) -> !torch.list<int>
  %ones = torch.prim.ListConstruct %int1 : (!torch.int) -> !torch.list<int>
  %empty = torch.prim.ListConstruct : () -> !torch.list<int>
  %0 = torch.aten.convolution %x, %tw, %none, %ones, %zeros, %ones, %false, %empty, %int1 : !torch.vtensor<[1,1,3],f32>, !torch.vtensor<[1,1,1],f32>, !torch.none, !torch.list<int>, !torch.list<int>, !torch.list<int>, !torch.bool, !torch.list<int>, !torch.int -> !torch.vtensor<[1,1,3],f32>
  %1 = torch.aten.batch_norm %0, %tg, %tg, %tg, %tg, %false, %epsilon, %epsilon, %false : !torch.vtensor<[1,1,3],f32>, !torch.vtensor<[1],f32>, !torch.vtensor<[1],f32>, !torch.vtensor<[1],f32>, !torch.vtensor<[1],f32>, !torch.bool, !torch.float, !torch.float, !torch.bool -> !torch.vtensor<[1,1,3],f32>
  return %0, %1 : !torch.vtensor<[1,1,3],f32>, !torch.vtensor<[1,1,3],f32>
}

// -----

// A transposed convolution is left to torch-mlir.
// CHECK-LABEL: func.func @transposed
// CHECK-NOT: sparsity.conv
// CHECK: torch.aten.convolution
func.func @transposed(%x: !torch.vtensor<[1,1,3],f32>, %tw: !torch.vtensor<[1,1,1],f32>) -> !torch.vtensor<[1,1,3],f32> {
  %none = torch.constant.none
  %true = torch.constant.bool true
  %int0 = torch.constant.int 0
  %int1 = torch.constant.int 1
  %zeros = torch.prim.ListConstruct %int0 : (!torch.int) -> !torch.list<int>
  %ones = torch.prim.ListConstruct %int1 : (!torch.int) -> !torch.list<int>
  %0 = torch.aten.convolution %x, %tw, %none, %ones, %zeros, %ones, %true, %zeros, %int1 : !torch.vtensor<[1,1,3],f32>, !torch.vtensor<[1,1,1],f32>, !torch.none, !torch.list<int>, !torch.list<int>, !torch.list<int>, !torch.bool, !torch.list<int>, !torch.int -> !torch.vtensor<[1,1,3],f32>
  return %0 : !torch.vtensor<[1,1,3],f32>
}
