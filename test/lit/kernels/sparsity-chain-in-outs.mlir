// Chains of dispatches with several results, some in the storage of operands.
// RUN: sparsity-opt %s --sparsity-chain | FileCheck %s

module attributes {sparsity.target = #sparsity.target<{vector_bytes = 64 : i64, registers = 32 : i64, workers = 2 : i64}>} {
  func.func private @local(%x: memref<1x2x1x16xf32>, %s: memref<1x2x1x16xf32>, %o: memref<1x2x1x16xf32>, %i: index, %panel: index, %batch: index) attributes {sparsity.kernel} {
    %one = arith.constant 1 : index
    %other = arith.subi %one, %panel : index
    %a = vector.load %x[%batch, %panel, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    %b = vector.load %s[%batch, %panel, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    %sum = arith.addf %a, %b : vector<16xf32>
    vector.store %sum, %s[%batch, %panel, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    vector.store %a, %o[%batch, %panel, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    return
  }
  // The panel of another workgroup is in the second operand, in the first, in the second result.
  func.func private @state_of_others(%x: memref<1x2x1x16xf32>, %s: memref<1x2x1x16xf32>, %o: memref<1x2x1x16xf32>, %i: index, %panel: index, %batch: index) attributes {sparsity.kernel} {
    %one = arith.constant 1 : index
    %other = arith.subi %one, %panel : index
    %a = vector.load %x[%batch, %panel, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    %b = vector.load %s[%batch, %other, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    %sum = arith.addf %a, %b : vector<16xf32>
    vector.store %sum, %s[%batch, %panel, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    vector.store %a, %o[%batch, %panel, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    return
  }
  func.func private @reads_others(%x: memref<1x2x1x16xf32>, %s: memref<1x2x1x16xf32>, %o: memref<1x2x1x16xf32>, %i: index, %panel: index, %batch: index) attributes {sparsity.kernel} {
    %one = arith.constant 1 : index
    %other = arith.subi %one, %panel : index
    %a = vector.load %x[%batch, %other, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    %b = vector.load %s[%batch, %panel, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    %sum = arith.addf %a, %b : vector<16xf32>
    vector.store %sum, %s[%batch, %panel, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    vector.store %a, %o[%batch, %panel, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    return
  }
  func.func private @result_of_others(%x: memref<1x2x1x16xf32>, %s: memref<1x2x1x16xf32>, %o: memref<1x2x1x16xf32>, %i: index, %panel: index, %batch: index) attributes {sparsity.kernel} {
    %one = arith.constant 1 : index
    %other = arith.subi %one, %panel : index
    %a = vector.load %x[%batch, %panel, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    %b = vector.load %s[%batch, %panel, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    %sum = arith.addf %a, %b : vector<16xf32>
    vector.store %sum, %s[%batch, %panel, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    vector.store %a, %o[%batch, %other, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    return
  }

  // Both results of a dispatch may be read, and what it updates may be updated again.
  // CHECK-LABEL: func.func @updated_twice
  // CHECK-COUNT-3: sparsity.chain = 0
  func.func @updated_twice(%x: tensor<1x2x1x16xf32>, %s: tensor<1x2x1x16xf32>) -> (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>) {
    %a, %p = "sparsity.dispatch"(%x, %s) {kernel = @local, grid = array<i64: 1, 2, 1>, tied_operands = array<i64: 1, -1>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>) -> (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>)
    %b, %q = "sparsity.dispatch"(%p, %a) {kernel = @local, grid = array<i64: 1, 2, 1>, tied_operands = array<i64: 1, -1>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>) -> (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>)
    %c, %r = "sparsity.dispatch"(%b, %q) {kernel = @local, grid = array<i64: 1, 2, 1>, tied_operands = array<i64: 1, -1>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>) -> (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>)
    return %p, %r, %c : tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>
  }

  // What a kernel overwrites elsewhere, or reads elsewhere while it is overwritten, other workgroups still need.
  // CHECK-LABEL: func.func @of_other_workgroups
  // CHECK-NOT: sparsity.chain
  func.func @of_other_workgroups(%x: tensor<1x2x1x16xf32>, %s: tensor<1x2x1x16xf32>) -> (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>) {
    %a, %p = "sparsity.dispatch"(%x, %s) {kernel = @local, grid = array<i64: 1, 2, 1>, tied_operands = array<i64: 1, -1>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>) -> (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>)
    %b, %q = "sparsity.dispatch"(%x, %a) {kernel = @state_of_others, grid = array<i64: 1, 2, 1>, tied_operands = array<i64: 1, -1>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>) -> (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>)
    %c, %r = "sparsity.dispatch"(%x, %p) {kernel = @result_of_others, grid = array<i64: 1, 2, 1>, tied_operands = array<i64: 1, -1>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>) -> (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>)
    return %b, %q, %c, %r : tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>
  }

  // The first reads the other workgroup's panel of what the second overwrites.
  // CHECK-LABEL: func.func @read_before
  // CHECK-NOT: sparsity.chain
  func.func @read_before(%x: tensor<1x2x1x16xf32>, %s: tensor<1x2x1x16xf32>) -> (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>) {
    %a, %p = "sparsity.dispatch"(%x, %s) {kernel = @reads_others, grid = array<i64: 1, 2, 1>, tied_operands = array<i64: 1, -1>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>) -> (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>)
    %b, %q = "sparsity.dispatch"(%a, %x) {kernel = @local, grid = array<i64: 1, 2, 1>, tied_operands = array<i64: 1, -1>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>) -> (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>)
    return %p, %b, %q : tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>
  }

  // The old value has a reader further down, so it and the new one need a buffer each.
  // CHECK-LABEL: func.func @read_after
  // CHECK-NOT: sparsity.chain
  func.func @read_after(%x: tensor<1x2x1x16xf32>, %s: tensor<1x2x1x16xf32>) -> (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>) {
    %a, %p = "sparsity.dispatch"(%x, %s) {kernel = @local, grid = array<i64: 1, 2, 1>, tied_operands = array<i64: 1, -1>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>) -> (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>)
    %b, %q = "sparsity.dispatch"(%x, %p) {kernel = @local, grid = array<i64: 1, 2, 1>, tied_operands = array<i64: 1, -1>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>) -> (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>)
    return %a, %b, %p : tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>
  }

  // So does a value that the kernel takes as two operands.
  // CHECK-LABEL: func.func @read_beside
  // CHECK-NOT: sparsity.chain
  func.func @read_beside(%x: tensor<1x2x1x16xf32>, %s: tensor<1x2x1x16xf32>) -> (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>) {
    %a, %p = "sparsity.dispatch"(%x, %s) {kernel = @local, grid = array<i64: 1, 2, 1>, tied_operands = array<i64: 1, -1>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>) -> (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>)
    %b, %q = "sparsity.dispatch"(%p, %p) {kernel = @local, grid = array<i64: 1, 2, 1>, tied_operands = array<i64: 1, -1>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>) -> (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>)
    return %b, %q : tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>
  }
}
