// Passes that keep the results pass; the first one that changes them is named.
// RUN: sparsity-opt %s --check-semantics --canonicalize --cse -o /dev/null
// RUN: not sparsity-opt %s --check-semantics --load-pass=swap_operands:SwapOperands --cse --swap-operands --canonicalize 2>&1 | FileCheck %s
// RUN: sparsity-opt %s --check-semantics --check-tolerance=100 --load-pass=swap_operands:SwapOperands --swap-operands -o /dev/null

// CHECK: pass 'swap-operands' changes what @f computes: result 0 is off by {{[0-9.]+}} of its largest value
func.func @f(%x: tensor<2x3xf32>, %y: tensor<2x3xf32>) -> tensor<2x3xf32> {
  %0 = arith.subf %x, %y : tensor<2x3xf32>
  %1 = "sparsity.activation"(%0) {kind = "tanh"} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return %1 : tensor<2x3xf32>
}
