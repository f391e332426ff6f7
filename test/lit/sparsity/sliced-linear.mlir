// RUN: sparsity-opt %s | sparsity-opt | FileCheck %s

// Printing and parsing keep the op: one list for the slice, a list per row, columns of both widths.
// CHECK-LABEL: func.func @main
// CHECK: "sparsity.sliced_linear"(%{{.*}}) {consecutive = true, {{.*}}vector_rows = 4 : i64} : (tensor<2x6xf32>, tensor<5x8xf32>, tensor<5x1xi16>
// CHECK: "sparsity.sliced_linear"(%{{.*}}) {activation = "silu", consecutive = false, {{.*}}vector_rows = 8 : i64} : (tensor<2x6xf32>, tensor<5x8xf32>, tensor<5x8xi32>
func.func @main(%x: tensor<2x6xf32>, %v: tensor<5x8xf32>, %c: tensor<5x1xi16>, %d: tensor<5x8xi32>, %o: tensor<3xi32>, %r: tensor<2x8xi32>, %w: tensor<2xi32>, %b: tensor<2x8xf32>, %h: tensor<2x16xf32>) -> (tensor<2x16xf32>, tensor<2x16xf32>) {
  %1 = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w) {vector_rows = 4 : i64, consecutive = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0>} : (tensor<2x6xf32>, tensor<5x8xf32>, tensor<5x1xi16>, tensor<3xi32>, tensor<2x8xi32>, tensor<2xi32>) -> tensor<2x16xf32>
  %2 = "sparsity.sliced_linear"(%x, %v, %d, %o, %r, %w, %b, %h) {vector_rows = 8 : i64, consecutive = false, activation = "silu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<2x6xf32>, tensor<5x8xf32>, tensor<5x8xi32>, tensor<3xi32>, tensor<2x8xi32>, tensor<2xi32>, tensor<2x8xf32>, tensor<2x16xf32>) -> tensor<2x16xf32>
  return %1, %2 : tensor<2x16xf32>, tensor<2x16xf32>
}
