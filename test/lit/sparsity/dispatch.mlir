// A dispatch of several results, one of them in an operand's storage, means the same for every reader of the operand.
// RUN: sparsity-opt %s | sparsity-opt | FileCheck %s
// RUN: sparsity-opt %s --cse --canonicalize --check-semantics | FileCheck %s --check-prefix=CSE

// Adds %x to %sum and gives the product of %x and what %sum was.
func.func private @step(%x: memref<4xf32>, %sum: memref<4xf32>, %product: memref<4xf32>, %i: index, %y: index, %z: index) attributes {sparsity.kernel} {
  %a = memref.load %x[%i] : memref<4xf32>
  %b = memref.load %sum[%i] : memref<4xf32>
  %s = arith.addf %a, %b : f32
  %p = arith.mulf %a, %b : f32
  memref.store %s, %sum[%i] : memref<4xf32>
  memref.store %p, %product[%i] : memref<4xf32>
  return
}

// CHECK-LABEL: func.func @two_steps
// CHECK: %[[FIRST:.*]]:2 = "sparsity.dispatch"(%arg0, %arg1) {{.*}}tied_operands = array<i64: 1, -1>} : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
// CHECK: "sparsity.dispatch"(%[[FIRST]]#1, %[[FIRST]]#0)
func.func @two_steps(%x: tensor<4xf32>, %state: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %s, %p = "sparsity.dispatch"(%x, %state) {kernel = @step, grid = array<i64: 4, 1, 1>, tied_operands = array<i64: 1, -1>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  %t, %q = "sparsity.dispatch"(%p, %s) {kernel = @step, grid = array<i64: 4, 1, 1>, tied_operands = array<i64: 1, -1>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  return %t, %q : tensor<4xf32>, tensor<4xf32>
}

// Two states that begin alike become one value, and equal steps one step; both readers still get what they had.
// CSE-LABEL: func.func @two_states
// CSE: %[[ZERO:.*]] = arith.constant
// CSE: %[[STEP:.*]]:2 = "sparsity.dispatch"(%arg0, %[[ZERO]])
// CSE: %[[OTHER:.*]]:2 = "sparsity.dispatch"(%arg1, %[[ZERO]])
// CSE-NOT: sparsity.dispatch
// CSE: return %[[STEP]]#0, %[[OTHER]]#0, %[[STEP]]#0
func.func @two_states(%x: tensor<4xf32>, %y: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
  %zero = arith.constant dense<0.0> : tensor<4xf32>
  %same = arith.constant dense<0.0> : tensor<4xf32>
  %s, %p = "sparsity.dispatch"(%x, %zero) {kernel = @step, grid = array<i64: 4, 1, 1>, tied_operands = array<i64: 1, -1>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  %t, %q = "sparsity.dispatch"(%y, %same) {kernel = @step, grid = array<i64: 4, 1, 1>, tied_operands = array<i64: 1, -1>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  %u, %r = "sparsity.dispatch"(%x, %same) {kernel = @step, grid = array<i64: 4, 1, 1>, tied_operands = array<i64: 1, -1>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  return %s, %t, %u : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}
