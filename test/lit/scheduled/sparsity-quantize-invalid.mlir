// RUN: sparsity-opt %s --split-input-file --verify-diagnostics --sparsity-number-format="weights=f16" --sparsity-quantize

func.func @too_large(%ids: tensor<1x6xi64>) -> tensor<1x6x2xf32> {
  %table = "sparsity.weight"() {source = dense<[[1.0, -2.0], [7.0e4, 0.0]]> : tensor<2x2xf32>} : () -> tensor<2x2xf32>
  // expected-error @+1 {{'sparsity.embedding' op expected weights of at most 65504 to store them as f16, found 70000.0 in 'literal'}}
  %x = "sparsity.embedding"(%ids, %table) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x6xi64>, tensor<2x2xf32>) -> tensor<1x6x2xf32>
  return %x : tensor<1x6x2xf32>
}

// -----

func.func @no_number(%ids: tensor<1x6xi64>) -> tensor<1x6x1xf32> {
  %table = "sparsity.weight"() {source = dense<[[0x7FC00000], [1.0]]> : tensor<2x1xf32>} : () -> tensor<2x1xf32>
  // expected-error @+1 {{expected weights of at most 65504 to store them as f16, found nan in 'literal'}}
  %x = "sparsity.embedding"(%ids, %table) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x6xi64>, tensor<2x1xf32>) -> tensor<1x6x1xf32>
  return %x : tensor<1x6x1xf32>
}
