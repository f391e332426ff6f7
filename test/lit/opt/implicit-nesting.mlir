// A pass that runs on functions only is nested by itself where it is a flag; a pipeline has to say so.
// RUN: sparsity-opt %s --torch-decompose-complex-ops | FileCheck %s
// RUN: sparsity-opt %s --pass-pipeline='func.func(torch-decompose-complex-ops)' | FileCheck %s
// RUN: not sparsity-opt %s --pass-pipeline='torch-decompose-complex-ops' 2>&1 | FileCheck %s --check-prefix=SAY

// CHECK-NOT: torch.aten.silu
// CHECK: torch.aten.sigmoid
// SAY: 'torch-decompose-complex-ops' runs on 'func.func': write func.func(torch-decompose-complex-ops)
func.func @f(%x: !torch.vtensor<[2],f32>) -> !torch.vtensor<[2],f32> {
  %0 = torch.aten.silu %x : !torch.vtensor<[2],f32> -> !torch.vtensor<[2],f32>
  return %0 : !torch.vtensor<[2],f32>
}
