// RUN: sparsity-opt %s --convert-sparsity-to-kernels --split-input-file | FileCheck %s

// GELU is one polynomial of |x|, its fourth power and a multiply-add: no call, no division, no branch.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 32 : i64, registers = 16 : i64}>} {
  // CHECK-LABEL: func.func private @gelu_8
  // CHECK: %[[X:.*]] = vector.load
  // CHECK: %[[A:.*]] = math.absf %[[X]]
  // CHECK: %[[IN:.*]] = arith.cmpf olt, %[[BOUND:.*]], %[[A]]
  // CHECK: %[[Z:.*]] = arith.select %[[IN]], %[[BOUND]], %[[A]]
  // CHECK-COUNT-8: vector.fma %[[Z]]
  // CHECK-COUNT-3: arith.mulf
  // CHECK-NOT: {{arith.divf|math\.|func.call}}
  // CHECK: vector.fma
  // CHECK: vector.store
  func.func @gelu(%x: tensor<1x1x8x8xf32>) -> tensor<1x1x8x8xf32> {
    %0 = "sparsity.activation"(%x) {kind = "gelu", layout = #sparsity.layout<{panel = 8 : i64, inner = 1 : i64}>} : (tensor<1x1x8x8xf32>) -> tensor<1x1x8x8xf32>
    return %0 : tensor<1x1x8x8xf32>
  }
}

// -----

// exp: the bounds, an integer taken out of the exponent by an addition, nine multiply-adds and the power of two as bits.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 32 : i64, registers = 16 : i64}>} {
  // CHECK-LABEL: func.func private @silu_8
  // CHECK: arith.negf
  // CHECK: arith.cmpf olt
  // CHECK: arith.cmpf ogt
  // CHECK: %[[SHIFTED:.*]] = vector.fma
  // CHECK: arith.subf %[[SHIFTED]]
  // CHECK-COUNT-2: vector.fma
  // CHECK: %[[BITS:.*]] = arith.bitcast %[[SHIFTED]] : vector<8xf32> to vector<8xi32>
  // CHECK: arith.shli %[[BITS]]
  // CHECK-COUNT-6: vector.fma
  // CHECK-NOT: {{math\.|func.call}}
  // CHECK: arith.divf
  // CHECK: vector.store
  func.func @silu(%x: tensor<1x1x8x8xf32>) -> tensor<1x1x8x8xf32> {
    %0 = "sparsity.activation"(%x) {kind = "silu", layout = #sparsity.layout<{panel = 8 : i64, inner = 1 : i64}>} : (tensor<1x1x8x8xf32>) -> tensor<1x1x8x8xf32>
    return %0 : tensor<1x1x8x8xf32>
  }
}
