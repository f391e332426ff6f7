// Attention with its splits into heads becomes one op on token-major tensors; masks become biases.
// RUN: sparsity-opt %s --convert-torch-to-sparsity --split-input-file | FileCheck %s

// A boolean mask over keys, broadcast to all queries, is a bias per key: the broadcast is not computed.
// CHECK-LABEL: func.func @fused
// CHECK-SAME: (%[[Q:.*]]: !torch.vtensor<[1,3,8],f32>, %[[K:.*]]: !torch{{.*}}, %[[V:.*]]: !torch{{.*}}, %[[M:.*]]: !torch
// CHECK-NOT: broadcast_to
// CHECK: %[[KB:.*]] = torch.aten.where.Scalar %[[M]], %{{.*}} -> !torch.vtensor<[1,3],f32>
// CHECK-DAG: %[[KEYS:.*]] = torch_c.to_builtin_tensor %[[KB]]
// CHECK-DAG: %[[QB:.*]] = torch_c.to_builtin_tensor %[[Q]]
// CHECK-DAG: %[[KTB:.*]] = torch_c.to_builtin_tensor %[[K]]
// CHECK-DAG: %[[VB:.*]] = torch_c.to_builtin_tensor %[[V]]
// CHECK: %[[A:.*]] = "sparsity.attention"(%[[QB]], %[[KTB]], %[[VB]], %[[KEYS]])
// CHECK-SAME: causal = false, heads = 2 : i64, kv_heads = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>, scale = 5.000000e-01 : f64
// CHECK-NEXT: %[[R:.*]] = torch_c.from_builtin_tensor %[[A]]
// CHECK-NEXT: return %[[R]]
func.func @fused(%q: !torch.vtensor<[1,3,8],f32>, %k: !torch.vtensor<[1,3,8],f32>, %v: !torch.vtensor<[1,3,8],f32>, %mask: !torch.vtensor<[1,3],i1>) -> !torch.vtensor<[1,3,8],f32> {
  %none = torch.constant.none
  %false = torch.constant.bool false
  %zero = torch.constant.float 0.000000e+00
  %int1 = torch.constant.int 1
  %int2 = torch.constant.int 2
  %int3 = torch.constant.int 3
  %int4 = torch.constant.int 4
  %int8 = torch.constant.int 8
  %split = torch.prim.ListConstruct %int1, %int3, %int2, %int4 : (!torch.int, !torch.int, !torch.int, !torch.int) -> !torch.list<int>
  %merged = torch.prim.ListConstruct %int1, %int3, %int8 : (!torch.int, !torch.int, !torch.int) -> !torch.list<int>
  %keys = torch.prim.ListConstruct %int1, %int1, %int1, %int3 : (!torch.int, !torch.int, !torch.int, !torch.int) -> !torch.list<int>
  %all = torch.prim.ListConstruct %int1, %int1, %int3, %int3 : (!torch.int, !torch.int, !torch.int, !torch.int) -> !torch.list<int>
  %0 = torch.aten.view %q, %split : !torch.vtensor<[1,3,8],f32>, !torch.list<int> -> !torch.vtensor<[1,3,2,4],f32>
  %1 = torch.aten.transpose.int %0, %int1, %int2 : !torch.vtensor<[1,3,2,4],f32>, !torch.int, !torch.int -> !torch.vtensor<[1,2,3,4],f32>
  %2 = torch.aten.view %k, %split : !torch.vtensor<[1,3,8],f32>, !torch.list<int> -> !torch.vtensor<[1,3,2,4],f32>
  %3 = torch.aten.transpose.int %2, %int1, %int2 : !torch.vtensor<[1,3,2,4],f32>, !torch.int, !torch.int -> !torch.vtensor<[1,2,3,4],f32>
  %4 = torch.aten.view %v, %split : !torch.vtensor<[1,3,8],f32>, !torch.list<int> -> !torch.vtensor<[1,3,2,4],f32>
  %5 = torch.aten.transpose.int %4, %int1, %int2 : !torch.vtensor<[1,3,2,4],f32>, !torch.int, !torch.int -> !torch.vtensor<[1,2,3,4],f32>
  %6 = torch.aten.view %mask, %keys : !torch.vtensor<[1,3],i1>, !torch.list<int> -> !torch.vtensor<[1,1,1,3],i1>
  %7 = torch.aten.broadcast_to %6, %all : !torch.vtensor<[1,1,1,3],i1>, !torch.list<int> -> !torch.vtensor<[1,1,3,3],i1>
  %8 = torch.aten.scaled_dot_product_attention %1, %3, %5, %7, %zero, %false, %none, %false : !torch.vtensor<[1,2,3,4],f32>, !torch.vtensor<[1,2,3,4],f32>, !torch.vtensor<[1,2,3,4],f32>, !torch.vtensor<[1,1,3,3],i1>, !torch.float, !torch.bool, !torch.none, !torch.bool -> !torch.vtensor<[1,2,3,4],f32>
  %9 = torch.aten.transpose.int %8, %int1, %int2 : !torch.vtensor<[1,2,3,4],f32>, !torch.int, !torch.int -> !torch.vtensor<[1,3,2,4],f32>
  %10 = torch.aten.view %9, %merged : !torch.vtensor<[1,3,2,4],f32>, !torch.list<int> -> !torch.vtensor<[1,3,8],f32>
  return %10 : !torch.vtensor<[1,3,8],f32>
}

// -----

// Attention spelled out. Of what is added to the scores, positions are a bias per query and key; the mask, computed
// from its broadcast, is repeated at the size of the keys.
// CHECK-LABEL: func.func @spelled_out
// CHECK-SAME: %[[POS:[a-z0-9]+]]: !torch.vtensor<[1,2,3,3],f32>, %[[MASK:[a-z0-9]+]]: !torch.vtensor<[1,1,1,3],f32>
// CHECK: %[[SMALL:.*]] = torch.aten.mul.Scalar %[[MASK]], %{{.*}} -> !torch.vtensor<[1,1,1,3],f32>
// CHECK: torch.aten.view %[[SMALL]], {{.*}} -> !torch.vtensor<[1,3],f32>
// CHECK: "sparsity.attention"
// CHECK-SAME: heads = 2 : i64, kv_heads = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1>, scale = 5.000000e-01
// CHECK-SAME: tensor<1x3xf32>, tensor<1x2x3x3xf32>)
// CHECK-NOT: torch.aten.softmax
// CHECK-NOT: torch.aten.matmul
func.func @spelled_out(%q: !torch.vtensor<[1,2,3,4],f32>, %k: !torch.vtensor<[1,2,3,4],f32>, %v: !torch.vtensor<[1,2,3,4],f32>, %positions: !torch.vtensor<[1,2,3,3],f32>, %mask: !torch.vtensor<[1,1,1,3],f32>) -> !torch.vtensor<[1,2,3,4],f32> {
  %none = torch.constant.none
  %two = torch.constant.float 2.000000e+00
  %large = torch.constant.float -1.000000e+04
  %int1 = torch.constant.int 1
  %int-1 = torch.constant.int -1
  %int-2 = torch.constant.int -2
  %int3 = torch.constant.int 3
  %all = torch.prim.ListConstruct %int1, %int1, %int3, %int3 : (!torch.int, !torch.int, !torch.int, !torch.int) -> !torch.list<int>
  %0 = torch.aten.transpose.int %k, %int-1, %int-2 : !torch.vtensor<[1,2,3,4],f32>, !torch.int, !torch.int -> !torch.vtensor<[1,2,4,3],f32>
  %1 = torch.aten.matmul %q, %0 : !torch.vtensor<[1,2,3,4],f32>, !torch.vtensor<[1,2,4,3],f32> -> !torch.vtensor<[1,2,3,3],f32>
  %2 = torch.aten.div.Scalar %1, %two : !torch.vtensor<[1,2,3,3],f32>, !torch.float -> !torch.vtensor<[1,2,3,3],f32>
  %3 = torch.aten.add.Tensor %2, %positions, %int1 : !torch.vtensor<[1,2,3,3],f32>, !torch.vtensor<[1,2,3,3],f32>, !torch.int -> !torch.vtensor<[1,2,3,3],f32>
  %4 = torch.aten.broadcast_to %mask, %all : !torch.vtensor<[1,1,1,3],f32>, !torch.list<int> -> !torch.vtensor<[1,1,3,3],f32>
  %5 = torch.aten.mul.Scalar %4, %large : !torch.vtensor<[1,1,3,3],f32>, !torch.float -> !torch.vtensor<[1,1,3,3],f32>
  %6 = torch.aten.add.Tensor %3, %5, %int1 : !torch.vtensor<[1,2,3,3],f32>, !torch.vtensor<[1,1,3,3],f32>, !torch.int -> !torch.vtensor<[1,2,3,3],f32>
  %7 = torch.aten.softmax.int %6, %int-1, %none : !torch.vtensor<[1,2,3,3],f32>, !torch.int, !torch.none -> !torch.vtensor<[1,2,3,3],f32>
  %8 = torch.aten.matmul %7, %v : !torch.vtensor<[1,2,3,3],f32>, !torch.vtensor<[1,2,3,4],f32> -> !torch.vtensor<[1,2,3,4],f32>
  return %8 : !torch.vtensor<[1,2,3,4],f32>
}

// -----

// Causal attention with fewer heads of keys and values, and none at all.
// CHECK-LABEL: func.func @grouped
// CHECK: "sparsity.attention"
// CHECK-SAME: causal = true, heads = 4 : i64, kv_heads = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>, scale = 2.500000e-01
func.func @grouped(%q: !torch.vtensor<[1,4,3,4],f32>, %k: !torch.vtensor<[1,2,3,4],f32>, %v: !torch.vtensor<[1,2,3,4],f32>) -> !torch.vtensor<[1,4,3,4],f32> {
  %none = torch.constant.none
  %true = torch.constant.bool true
  %zero = torch.constant.float 0.000000e+00
  %scale = torch.constant.float 2.500000e-01
  %0 = torch.aten.scaled_dot_product_attention %q, %k, %v, %none, %zero, %true, %scale, %true : !torch.vtensor<[1,4,3,4],f32>, !torch.vtensor<[1,2,3,4],f32>, !torch.vtensor<[1,2,3,4],f32>, !torch.none, !torch.float, !torch.bool, !torch.float, !torch.bool -> !torch.vtensor<[1,4,3,4],f32>
  return %0 : !torch.vtensor<[1,4,3,4],f32>
}

// -----

// Without heads the tensors are token-major as they are.
// CHECK-LABEL: func.func @headless
// CHECK-NOT: torch.aten
// CHECK: "sparsity.attention"
// CHECK-SAME: heads = 1 : i64
func.func @headless(%q: !torch.vtensor<[2,3,4],f32>, %k: !torch.vtensor<[2,5,4],f32>, %v: !torch.vtensor<[2,5,4],f32>) -> !torch.vtensor<[2,3,4],f32> {
  %none = torch.constant.none
  %false = torch.constant.bool false
  %zero = torch.constant.float 0.000000e+00
  %0 = torch.aten.scaled_dot_product_attention %q, %k, %v, %none, %zero, %false, %none, %false : !torch.vtensor<[2,3,4],f32>, !torch.vtensor<[2,5,4],f32>, !torch.vtensor<[2,5,4],f32>, !torch.none, !torch.float, !torch.bool, !torch.none, !torch.bool -> !torch.vtensor<[2,3,4],f32>
  return %0 : !torch.vtensor<[2,3,4],f32>
}
