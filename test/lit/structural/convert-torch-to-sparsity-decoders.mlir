// What decoders spell out in arithmetic becomes one op; what only looks alike stays.
// RUN: sparsity-opt %s --convert-torch-to-sparsity --split-input-file | FileCheck %s
// RUN: sparsity-opt %s --convert-torch-to-sparsity --check-semantics --split-input-file -o /dev/null

// A root-mean-square norm, with its mean as a sum that is divided.
// CHECK-LABEL: func.func @rms_norm
// CHECK: "sparsity.rms_norm"(%{{.*}}, %{{.*}}) {epsilon = 9.9999999999999995E-7 : f64}
// CHECK-NOT: aten.rsqrt
func.func @rms_norm(%x: !torch.vtensor<[1,3,4],f32>, %w: !torch.vtensor<[4],f32>) -> !torch.vtensor<[1,3,4],f32> {
  %none = torch.constant.none
  %true = torch.constant.bool true
  %minus1 = torch.constant.int -1
  %one = torch.constant.int 1
  %four = torch.constant.int 4
  %epsilon = torch.constant.float 9.9999999999999995E-7
  %last = torch.prim.ListConstruct %minus1 : (!torch.int) -> !torch.list<int>
  %0 = torch.aten.mul.Tensor %x, %x : !torch.vtensor<[1,3,4],f32>, !torch.vtensor<[1,3,4],f32> -> !torch.vtensor<[1,3,4],f32>
  %1 = torch.aten.sum.dim_IntList %0, %last, %true, %none : !torch.vtensor<[1,3,4],f32>, !torch.list<int>, !torch.bool, !torch.none -> !torch.vtensor<[1,3,1],f32>
  %2 = torch.aten.div.Scalar %1, %four : !torch.vtensor<[1,3,1],f32>, !torch.int -> !torch.vtensor<[1,3,1],f32>
  %3 = torch.aten.add.Scalar %2, %epsilon, %one : !torch.vtensor<[1,3,1],f32>, !torch.float, !torch.int -> !torch.vtensor<[1,3,1],f32>
  %4 = torch.aten.rsqrt %3 : !torch.vtensor<[1,3,1],f32> -> !torch.vtensor<[1,3,1],f32>
  %5 = torch.aten.mul.Tensor %x, %4 : !torch.vtensor<[1,3,4],f32>, !torch.vtensor<[1,3,1],f32> -> !torch.vtensor<[1,3,4],f32>
  %6 = torch.aten.mul.Tensor %w, %5 : !torch.vtensor<[4],f32>, !torch.vtensor<[1,3,4],f32> -> !torch.vtensor<[1,3,4],f32>
  return %6 : !torch.vtensor<[1,3,4],f32>
}

// -----

// The sum is divided by another number than that of the features.
// CHECK-LABEL: func.func @no_mean
// CHECK-NOT: sparsity.rms_norm
func.func @no_mean(%x: !torch.vtensor<[1,3,4],f32>, %w: !torch.vtensor<[4],f32>) -> !torch.vtensor<[1,3,4],f32> {
  %none = torch.constant.none
  %true = torch.constant.bool true
  %minus1 = torch.constant.int -1
  %one = torch.constant.int 1
  %three = torch.constant.int 3
  %epsilon = torch.constant.float 9.9999999999999995E-7
  %last = torch.prim.ListConstruct %minus1 : (!torch.int) -> !torch.list<int>
  %0 = torch.aten.mul.Tensor %x, %x : !torch.vtensor<[1,3,4],f32>, !torch.vtensor<[1,3,4],f32> -> !torch.vtensor<[1,3,4],f32>
  %1 = torch.aten.sum.dim_IntList %0, %last, %true, %none : !torch.vtensor<[1,3,4],f32>, !torch.list<int>, !torch.bool, !torch.none -> !torch.vtensor<[1,3,1],f32>
  %2 = torch.aten.div.Scalar %1, %three : !torch.vtensor<[1,3,1],f32>, !torch.int -> !torch.vtensor<[1,3,1],f32>
  %3 = torch.aten.add.Scalar %2, %epsilon, %one : !torch.vtensor<[1,3,1],f32>, !torch.float, !torch.int -> !torch.vtensor<[1,3,1],f32>
  %4 = torch.aten.rsqrt %3 : !torch.vtensor<[1,3,1],f32> -> !torch.vtensor<[1,3,1],f32>
  %5 = torch.aten.mul.Tensor %x, %4 : !torch.vtensor<[1,3,4],f32>, !torch.vtensor<[1,3,1],f32> -> !torch.vtensor<[1,3,4],f32>
  %6 = torch.aten.mul.Tensor %w, %5 : !torch.vtensor<[4],f32>, !torch.vtensor<[1,3,4],f32> -> !torch.vtensor<[1,3,4],f32>
  return %6 : !torch.vtensor<[1,3,4],f32>
}

// -----

// Gated by a torch op, either way round; and by itself, which is no gate.
// CHECK-LABEL: func.func @gated
// CHECK: %[[Y:.*]] = "sparsity.gated"(%[[G:.*]], %[[U:.*]]) {kind = "silu"}
// CHECK: "sparsity.gated"(%[[U]], %[[Y]]) {kind = "relu"}
// CHECK: sparsity.activation
// CHECK-NOT: sparsity.gated
func.func @gated(%g: !torch.vtensor<[2,4],f32>, %u: !torch.vtensor<[2,4],f32>) -> !torch.vtensor<[2,4],f32> {
  %0 = torch.aten.silu %g : !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
  %1 = torch.aten.mul.Tensor %0, %u : !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
  %2 = torch.aten.relu %u : !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
  %3 = torch.aten.mul.Tensor %1, %2 : !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
  %4 = torch.aten.tanh %3 : !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
  %5 = torch.aten.mul.Tensor %4, %4 : !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
  return %5 : !torch.vtensor<[2,4],f32>
}

// -----

// The first four of six features are turned, the rest comes behind them.
// CHECK-LABEL: func.func @rotary
// CHECK: "sparsity.rotary"(%{{.*}}, %{{.*}}, %{{.*}}) {heads = 2 : i64} : (tensor<1x3x12xf32>, tensor<1x3x4xf32>, tensor<1x3x4xf32>)
// CHECK-NOT: aten.neg
func.func @rotary(%x: !torch.vtensor<[1,2,3,6],f32>, %cos: !torch.vtensor<[1,1,3,4],f32>, %sin: !torch.vtensor<[1,1,3,4],f32>) -> !torch.vtensor<[1,2,3,6],f32> {
  %zero = torch.constant.int 0
  %one = torch.constant.int 1
  %two = torch.constant.int 2
  %last = torch.constant.int 3
  %four = torch.constant.int 4
  %end = torch.constant.int 9223372036854775807
  %minus1 = torch.constant.int -1
  %turned = torch.aten.slice.Tensor %x, %last, %zero, %four, %one : !torch.vtensor<[1,2,3,6],f32>, !torch.int, !torch.int, !torch.int, !torch.int -> !torch.vtensor<[1,2,3,4],f32>
  %kept = torch.aten.slice.Tensor %x, %last, %four, %end, %one : !torch.vtensor<[1,2,3,6],f32>, !torch.int, !torch.int, !torch.int, !torch.int -> !torch.vtensor<[1,2,3,2],f32>
  %0 = torch.aten.mul.Tensor %turned, %cos : !torch.vtensor<[1,2,3,4],f32>, !torch.vtensor<[1,1,3,4],f32> -> !torch.vtensor<[1,2,3,4],f32>
  %1 = torch.aten.slice.Tensor %turned, %last, %zero, %two, %one : !torch.vtensor<[1,2,3,4],f32>, !torch.int, !torch.int, !torch.int, !torch.int -> !torch.vtensor<[1,2,3,2],f32>
  %2 = torch.aten.slice.Tensor %turned, %last, %two, %end, %one : !torch.vtensor<[1,2,3,4],f32>, !torch.int, !torch.int, !torch.int, !torch.int -> !torch.vtensor<[1,2,3,2],f32>
  %3 = torch.aten.neg %2 : !torch.vtensor<[1,2,3,2],f32> -> !torch.vtensor<[1,2,3,2],f32>
  %4 = torch.prim.ListConstruct %3, %1 : (!torch.vtensor<[1,2,3,2],f32>, !torch.vtensor<[1,2,3,2],f32>) -> !torch.list<vtensor>
  %5 = torch.aten.cat %4, %minus1 : !torch.list<vtensor>, !torch.int -> !torch.vtensor<[1,2,3,4],f32>
  %6 = torch.aten.mul.Tensor %5, %sin : !torch.vtensor<[1,2,3,4],f32>, !torch.vtensor<[1,1,3,4],f32> -> !torch.vtensor<[1,2,3,4],f32>
  %7 = torch.aten.add.Tensor %0, %6, %one : !torch.vtensor<[1,2,3,4],f32>, !torch.vtensor<[1,2,3,4],f32>, !torch.int -> !torch.vtensor<[1,2,3,4],f32>
  %8 = torch.prim.ListConstruct %7, %kept : (!torch.vtensor<[1,2,3,4],f32>, !torch.vtensor<[1,2,3,2],f32>) -> !torch.list<vtensor>
  %9 = torch.aten.cat %8, %minus1 : !torch.list<vtensor>, !torch.int -> !torch.vtensor<[1,2,3,6],f32>
  return %9 : !torch.vtensor<[1,2,3,6],f32>
}

// -----

// The halves are not exchanged: no rotation.
// CHECK-LABEL: func.func @no_rotary
// CHECK-NOT: sparsity.rotary
func.func @no_rotary(%x: !torch.vtensor<[1,2,3,4],f32>, %cos: !torch.vtensor<[1,1,3,4],f32>, %sin: !torch.vtensor<[1,1,3,4],f32>) -> !torch.vtensor<[1,2,3,4],f32> {
  %zero = torch.constant.int 0
  %one = torch.constant.int 1
  %two = torch.constant.int 2
  %last = torch.constant.int 3
  %end = torch.constant.int 9223372036854775807
  %minus1 = torch.constant.int -1
  %0 = torch.aten.mul.Tensor %x, %cos : !torch.vtensor<[1,2,3,4],f32>, !torch.vtensor<[1,1,3,4],f32> -> !torch.vtensor<[1,2,3,4],f32>
  %1 = torch.aten.slice.Tensor %x, %last, %zero, %two, %one : !torch.vtensor<[1,2,3,4],f32>, !torch.int, !torch.int, !torch.int, !torch.int -> !torch.vtensor<[1,2,3,2],f32>
  %2 = torch.aten.slice.Tensor %x, %last, %two, %end, %one : !torch.vtensor<[1,2,3,4],f32>, !torch.int, !torch.int, !torch.int, !torch.int -> !torch.vtensor<[1,2,3,2],f32>
  %3 = torch.aten.neg %1 : !torch.vtensor<[1,2,3,2],f32> -> !torch.vtensor<[1,2,3,2],f32>
  %4 = torch.prim.ListConstruct %3, %2 : (!torch.vtensor<[1,2,3,2],f32>, !torch.vtensor<[1,2,3,2],f32>) -> !torch.list<vtensor>
  %5 = torch.aten.cat %4, %minus1 : !torch.list<vtensor>, !torch.int -> !torch.vtensor<[1,2,3,4],f32>
  %6 = torch.aten.mul.Tensor %5, %sin : !torch.vtensor<[1,2,3,4],f32>, !torch.vtensor<[1,1,3,4],f32> -> !torch.vtensor<[1,2,3,4],f32>
  %7 = torch.aten.add.Tensor %0, %6, %one : !torch.vtensor<[1,2,3,4],f32>, !torch.vtensor<[1,2,3,4],f32>, !torch.int -> !torch.vtensor<[1,2,3,4],f32>
  return %7 : !torch.vtensor<[1,2,3,4],f32>
}
