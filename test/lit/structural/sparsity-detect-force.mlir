// A given encoding that keeps every weight stays; `force` replaces it by the cheapest. Running twice changes nothing.
// RUN: sparsity-opt %s --sparsity-detect | FileCheck %s --check-prefix=STAYS
// RUN: sparsity-opt %s --sparsity-detect=force=true | FileCheck %s --check-prefix=FORCED
// RUN: sparsity-opt %s --sparsity-detect=force=true --sparsity-detect | FileCheck %s --check-prefix=FORCED

// STAYS: sparsity.encoding = #sparsity.unstructured<{}>
// FORCED: sparsity.encoding = #sparsity.dense<{}>
func.func @given(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %w = "sparsity.weight"() {source = dense<1.0> : tensor<4x4xf32>, sparsity.encoding = #sparsity.unstructured<{}>}
       : () -> tensor<4x4xf32>
  %y = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>}
       : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}
