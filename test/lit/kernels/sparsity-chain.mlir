// RUN: sparsity-opt %s --sparsity-chain --split-input-file | FileCheck %s

// Two workers, two panels. @local reads and writes the panel of its workgroup, @mixing reads the other panel too: it
// waits for the dispatch before it and begins the next chain.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 64 : i64, registers = 32 : i64, workers = 2 : i64}>} {
  func.func private @local(%x: memref<1x2x1x16xf32>, %y: memref<1x2x1x16xf32>, %i: index, %panel: index, %batch: index) attributes {sparsity.kernel} {
    %v = vector.load %x[%batch, %panel, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    vector.store %v, %y[%batch, %panel, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    return
  }
  func.func private @mixing(%x: memref<1x2x1x16xf32>, %y: memref<1x2x1x16xf32>, %i: index, %panel: index, %batch: index) attributes {sparsity.kernel} {
    %one = arith.constant 1 : index
    %other = arith.subi %one, %panel : index
    %v = vector.load %x[%batch, %other, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    vector.store %v, %y[%batch, %panel, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    return
  }

  // CHECK-LABEL: func.func @two_chains
  // CHECK: "sparsity.dispatch"({{.*}}kernel = @local{{.*}}sparsity.chain = 0
  // CHECK: "sparsity.dispatch"({{.*}}kernel = @local{{.*}}sparsity.chain = 0
  // CHECK: "sparsity.dispatch"({{.*}}kernel = @mixing{{.*}}sparsity.chain = 1
  // CHECK: "sparsity.dispatch"({{.*}}kernel = @local{{.*}}sparsity.chain = 1
  func.func @two_chains(%x: tensor<1x2x1x16xf32>) -> tensor<1x2x1x16xf32> {
    %a = "sparsity.dispatch"(%x) {kernel = @local, grid = array<i64: 1, 2, 1>, operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x1x16xf32>) -> tensor<1x2x1x16xf32>
    %b = "sparsity.dispatch"(%a) {kernel = @local, grid = array<i64: 1, 2, 1>, operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x1x16xf32>) -> tensor<1x2x1x16xf32>
    %c = "sparsity.dispatch"(%b) {kernel = @mixing, grid = array<i64: 1, 2, 1>, operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x1x16xf32>) -> tensor<1x2x1x16xf32>
    %d = "sparsity.dispatch"(%c) {kernel = @local, grid = array<i64: 1, 2, 1>, operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x1x16xf32>) -> tensor<1x2x1x16xf32>
    return %d : tensor<1x2x1x16xf32>
  }

  // An op that reads a result in between ends the chain: it could not run before the chain is over.
  // CHECK-LABEL: func.func @read_in_between
  // CHECK-NOT: sparsity.chain
  func.func @read_in_between(%x: tensor<1x2x1x16xf32>) -> (tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>) {
    %a = "sparsity.dispatch"(%x) {kernel = @local, grid = array<i64: 1, 2, 1>, operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x1x16xf32>) -> tensor<1x2x1x16xf32>
    %s = arith.addf %a, %a : tensor<1x2x1x16xf32>
    %b = "sparsity.dispatch"(%a) {kernel = @local, grid = array<i64: 1, 2, 1>, operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x1x16xf32>) -> tensor<1x2x1x16xf32>
    return %s, %b : tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>
  }
}

// -----

// Three workers cannot share two panels evenly; and one worker waits for nobody (below).
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 64 : i64, registers = 32 : i64, workers = 3 : i64}>} {
  func.func private @local(%x: memref<1x2x1x16xf32>, %y: memref<1x2x1x16xf32>, %i: index, %panel: index, %batch: index) attributes {sparsity.kernel} {
    %v = vector.load %x[%batch, %panel, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    vector.store %v, %y[%batch, %panel, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    return
  }
  // CHECK-LABEL: func.func @uneven
  // CHECK-NOT: sparsity.chain
  func.func @uneven(%x: tensor<1x2x1x16xf32>) -> tensor<1x2x1x16xf32> {
    %a = "sparsity.dispatch"(%x) {kernel = @local, grid = array<i64: 1, 2, 1>, operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x1x16xf32>) -> tensor<1x2x1x16xf32>
    %b = "sparsity.dispatch"(%a) {kernel = @local, grid = array<i64: 1, 2, 1>, operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x1x16xf32>) -> tensor<1x2x1x16xf32>
    return %b : tensor<1x2x1x16xf32>
  }
}

// -----

module attributes {sparsity.target = #sparsity.target<{vector_bytes = 64 : i64, registers = 32 : i64, workers = 1 : i64}>} {
  func.func private @local(%x: memref<1x2x1x16xf32>, %y: memref<1x2x1x16xf32>, %i: index, %panel: index, %batch: index) attributes {sparsity.kernel} {
    %v = vector.load %x[%batch, %panel, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    vector.store %v, %y[%batch, %panel, %i, %i] : memref<1x2x1x16xf32>, vector<16xf32>
    return
  }
  // CHECK-LABEL: func.func @alone
  // CHECK-NOT: sparsity.chain
  func.func @alone(%x: tensor<1x2x1x16xf32>) -> tensor<1x2x1x16xf32> {
    %a = "sparsity.dispatch"(%x) {kernel = @local, grid = array<i64: 1, 2, 1>, operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x1x16xf32>) -> tensor<1x2x1x16xf32>
    %b = "sparsity.dispatch"(%a) {kernel = @local, grid = array<i64: 1, 2, 1>, operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x1x16xf32>) -> tensor<1x2x1x16xf32>
    return %b : tensor<1x2x1x16xf32>
  }
}

// -----

// A view that keeps batch and panel is looked through; one that has them in one dimension is not, nor one whose panels
// begin elsewhere.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 64 : i64, registers = 32 : i64, workers = 2 : i64}>} {
  func.func private @flat(%x: memref<1x2x4x16xf32>, %y: memref<1x2x4x16xf32>, %i: index, %panel: index, %batch: index) attributes {sparsity.kernel} {
    %from = memref.collapse_shape %x [[0], [1], [2, 3]] : memref<1x2x4x16xf32> into memref<1x2x64xf32>
    %to = memref.reinterpret_cast %y to offset: [0], sizes: [1, 2, 64], strides: [128, 64, 1] : memref<1x2x4x16xf32> to memref<1x2x64xf32>
    %v = vector.load %from[%batch, %panel, %i] : memref<1x2x64xf32>, vector<64xf32>
    vector.store %v, %to[%batch, %panel, %i] : memref<1x2x64xf32>, vector<64xf32>
    return
  }
  func.func private @joined(%x: memref<1x2x4x16xf32>, %y: memref<1x2x4x16xf32>, %i: index, %panel: index, %batch: index) attributes {sparsity.kernel} {
    %from = memref.collapse_shape %x [[0, 1], [2], [3]] : memref<1x2x4x16xf32> into memref<2x4x16xf32>
    %v = vector.load %from[%batch, %panel, %i] : memref<2x4x16xf32>, vector<16xf32>
    vector.store %v, %y[%batch, %panel, %i, %i] : memref<1x2x4x16xf32>, vector<16xf32>
    return
  }
  func.func private @moved(%x: memref<1x2x4x16xf32>, %y: memref<1x2x4x16xf32>, %i: index, %panel: index, %batch: index) attributes {sparsity.kernel} {
    %from = memref.reinterpret_cast %x to offset: [0], sizes: [1, 2, 32], strides: [64, 32, 1] : memref<1x2x4x16xf32> to memref<1x2x32xf32>
    %v = vector.load %from[%batch, %panel, %i] : memref<1x2x32xf32>, vector<16xf32>
    vector.store %v, %y[%batch, %panel, %i, %i] : memref<1x2x4x16xf32>, vector<16xf32>
    return
  }
  // CHECK-LABEL: func.func @views
  // CHECK: kernel = @flat{{.*}}sparsity.chain = 0
  // CHECK: kernel = @flat{{.*}}sparsity.chain = 0
  // CHECK: kernel = @joined
  // CHECK-NOT: sparsity.chain = 0
  func.func @views(%x: tensor<1x2x4x16xf32>) -> tensor<1x2x4x16xf32> {
    %a = "sparsity.dispatch"(%x) {kernel = @flat, grid = array<i64: 1, 2, 1>, operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x4x16xf32>) -> tensor<1x2x4x16xf32>
    %b = "sparsity.dispatch"(%a) {kernel = @flat, grid = array<i64: 1, 2, 1>, operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x4x16xf32>) -> tensor<1x2x4x16xf32>
    %c = "sparsity.dispatch"(%b) {kernel = @joined, grid = array<i64: 1, 2, 1>, operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x4x16xf32>) -> tensor<1x2x4x16xf32>
    return %c : tensor<1x2x4x16xf32>
  }
  // CHECK-LABEL: func.func @elsewhere
  // CHECK: kernel = @flat{{.*}}sparsity.chain = 1
  // CHECK: kernel = @flat{{.*}}sparsity.chain = 1
  // CHECK: kernel = @moved
  // CHECK-NOT: sparsity.chain
  func.func @elsewhere(%x: tensor<1x2x4x16xf32>) -> tensor<1x2x4x16xf32> {
    %a = "sparsity.dispatch"(%x) {kernel = @flat, grid = array<i64: 1, 2, 1>, operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x4x16xf32>) -> tensor<1x2x4x16xf32>
    %b = "sparsity.dispatch"(%a) {kernel = @flat, grid = array<i64: 1, 2, 1>, operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x4x16xf32>) -> tensor<1x2x4x16xf32>
    %c = "sparsity.dispatch"(%b) {kernel = @moved, grid = array<i64: 1, 2, 1>, operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x4x16xf32>) -> tensor<1x2x4x16xf32>
    return %c : tensor<1x2x4x16xf32>
  }
}
