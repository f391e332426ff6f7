// The named pipeline lowers what the conversion leaves, and the signature, to linalg on builtin tensors.
// RUN: sparsity-opt %s --torch-to-structural | FileCheck %s

// CHECK-LABEL: func.func @mixed
// CHECK-SAME: (%[[X:.*]]: tensor<2x4xf32>, %[[Y:.*]]: tensor<1x4xf32>) -> tensor<2x3xf32>
// CHECK-NOT: torch
// CHECK: %[[SUM:.*]] = linalg.generic
// CHECK-SAME: ins(%[[X]], %[[Y]] : tensor<2x4xf32>, tensor<1x4xf32>)
// CHECK: arith.addf
// CHECK: %[[W:.*]] = "sparsity.weight"() {source = "w"} : () -> tensor<3x4xf32>
// CHECK: %[[OUT:.*]] = "sparsity.linear"(%[[SUM]], %[[W]])
// CHECK-NOT: torch
// CHECK: return %[[OUT]] : tensor<2x3xf32>
func.func @mixed(%x: !torch.vtensor<[2,4],f32>, %y: !torch.vtensor<[1,4],f32>) -> !torch.vtensor<[2,3],f32> {
  %int1 = torch.constant.int 1
  %none = torch.constant.none
  %0 = torch.aten.add.Tensor %x, %y, %int1 : !torch.vtensor<[2,4],f32>, !torch.vtensor<[1,4],f32>, !torch.int -> !torch.vtensor<[2,4],f32>
  %1 = "sparsity.weight"() {source = "w"} : () -> tensor<3x4xf32>
  %w = torch_c.from_builtin_tensor %1 : tensor<3x4xf32> -> !torch.vtensor<[3,4],f32>
  %2 = torch.aten.linear %0, %w, %none : !torch.vtensor<[2,4],f32>, !torch.vtensor<[3,4],f32>, !torch.none -> !torch.vtensor<[2,3],f32>
  return %2 : !torch.vtensor<[2,3],f32>
}
