// What the verifiers of layers on bytes reject.
// RUN: sparsity-opt %s --split-input-file --verify-diagnostics

func.func @f(%x: tensor<1x1x8x16xf32>) -> tensor<1x1x16xf32> {
  // expected-error @+1 {{'sparsity.token_scales' op expected a layout with inner = 1, found 4}}
  %s = "sparsity.token_scales"(%x) {layout = #sparsity.layout<{panel = 16 : i64, inner = 4 : i64}>} : (tensor<1x1x8x16xf32>) -> tensor<1x1x16xf32>
  return %s : tensor<1x1x16xf32>
}

// -----

func.func @f(%x: tensor<1x1x8x16xf32>) -> tensor<1x16x1xf32> {
  // expected-error @+1 {{'sparsity.token_scales' op expected a result of shape [1, 1, 16], found [1, 16, 1]}}
  %s = "sparsity.token_scales"(%x) {layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>} : (tensor<1x1x8x16xf32>) -> tensor<1x16x1xf32>
  return %s : tensor<1x16x1xf32>
}

// -----

func.func @f(%x: tensor<1x1x6x16xf32>, %s: tensor<1x1x16xf32>) -> tensor<1x1x2x16x4xi8> {
  // expected-error @+1 {{'sparsity.quantize_tokens' op expected 'inner' (4) to divide the features, found 6 of them}}
  %q = "sparsity.quantize_tokens"(%x, %s) {zero_point = 0 : i64, layout = #sparsity.layout<{panel = 16 : i64, inner = 4 : i64}>} : (tensor<1x1x6x16xf32>, tensor<1x1x16xf32>) -> tensor<1x1x2x16x4xi8>
  return %q : tensor<1x1x2x16x4xi8>
}

// -----

func.func @f(%x: tensor<1x1x8x16xf32>, %s: tensor<1x1x16xf32>) -> tensor<1x1x2x16x4xi8> {
  // expected-error @+1 {{'sparsity.quantize_tokens' op expected a zero point of 0 or 128, found 3}}
  %q = "sparsity.quantize_tokens"(%x, %s) {zero_point = 3 : i64, layout = #sparsity.layout<{panel = 16 : i64, inner = 4 : i64}>} : (tensor<1x1x8x16xf32>, tensor<1x1x16xf32>) -> tensor<1x1x2x16x4xi8>
  return %q : tensor<1x1x2x16x4xi8>
}

// -----

func.func @f(%x: tensor<1x1x8x16xf32>, %s: tensor<1x1x16xf32>) -> tensor<1x1x2x16x4xi32> {
  // expected-error @+1 {{'sparsity.quantize_tokens' op expected f32 and scales of f32 to become i8, found f32, f32, i32}}
  %q = "sparsity.quantize_tokens"(%x, %s) {zero_point = 0 : i64, layout = #sparsity.layout<{panel = 16 : i64, inner = 4 : i64}>} : (tensor<1x1x8x16xf32>, tensor<1x1x16xf32>) -> tensor<1x1x2x16x4xi32>
  return %q : tensor<1x1x2x16x4xi32>
}

// -----

func.func @f(%q: tensor<1x1x2x16x4xi8>, %s: tensor<1x1x16xf32>, %v: tensor<80xi8>, %c: tensor<2xi32>, %g: tensor<1x1x2xi32>, %o: tensor<1xi32>, %r: tensor<1x2xi32>, %w: tensor<2xi32>, %b: tensor<2xi32>, %k: tensor<3xf32>) -> tensor<1x1x2x16xf32> {
  // expected-error @+1 {{'sparsity.quantized_linear' op expected scales of shape [2], found [3]}}
  %y = "sparsity.quantized_linear"(%q, %s, %v, %c, %g, %o, %r, %w, %b, %k) {row_tile = 2 : i64, row_masks = [3], zero_point = 0 : i64, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0>} : (tensor<1x1x2x16x4xi8>, tensor<1x1x16xf32>, tensor<80xi8>, tensor<2xi32>, tensor<1x1x2xi32>, tensor<1xi32>, tensor<1x2xi32>, tensor<2xi32>, tensor<2xi32>, tensor<3xf32>) -> tensor<1x1x2x16xf32>
  return %y : tensor<1x1x2x16xf32>
}

// -----

func.func @f(%q: tensor<1x1x2x16x4xi8>, %s: tensor<1x1x16xf32>, %v: tensor<80xf32>, %c: tensor<2xi32>, %g: tensor<1x1x2xi32>, %o: tensor<1xi32>, %r: tensor<1x2xi32>, %w: tensor<2xi32>, %b: tensor<2xi32>, %k: tensor<2xf32>) -> tensor<1x1x2x16xf32> {
  // expected-error @+1 {{'sparsity.quantized_linear' op expected values of i8, found f32}}
  %y = "sparsity.quantized_linear"(%q, %s, %v, %c, %g, %o, %r, %w, %b, %k) {row_tile = 2 : i64, row_masks = [3], zero_point = 0 : i64, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0>} : (tensor<1x1x2x16x4xi8>, tensor<1x1x16xf32>, tensor<80xf32>, tensor<2xi32>, tensor<1x1x2xi32>, tensor<1xi32>, tensor<1x2xi32>, tensor<2xi32>, tensor<2xi32>, tensor<2xf32>) -> tensor<1x1x2x16xf32>
  return %y : tensor<1x1x2x16xf32>
}

// -----

func.func @f(%q: tensor<1x1x2x16x4xi8>, %s: tensor<1x1x16xf32>, %v: tensor<80xi8>, %c: tensor<2xi32>, %g: tensor<1x1x2xi32>, %o: tensor<1xi32>, %r: tensor<1x2xi32>, %w: tensor<2xi32>, %b: tensor<2xi32>, %k: tensor<2xf32>) -> tensor<1x1x2x16xf32> {
  // expected-error @+1 {{'sparsity.quantized_linear' op expected a run of 4 or 8, found 6}}
  %y = "sparsity.quantized_linear"(%q, %s, %v, %c, %g, %o, %r, %w, %b, %k) {row_tile = 2 : i64, row_masks = [3], run = 6 : i64, zero_point = 0 : i64, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0>} : (tensor<1x1x2x16x4xi8>, tensor<1x1x16xf32>, tensor<80xi8>, tensor<2xi32>, tensor<1x1x2xi32>, tensor<1xi32>, tensor<1x2xi32>, tensor<2xi32>, tensor<2xi32>, tensor<2xf32>) -> tensor<1x1x2x16xf32>
  return %y : tensor<1x1x2x16xf32>
}

// -----

func.func @f(%q: tensor<1x1x1x16x8xi8>, %s: tensor<1x1x16xf32>, %v: tensor<80xi8>, %c: tensor<2xi32>, %g: tensor<1x1x2xi32>, %o: tensor<1xi32>, %r: tensor<1x2xi32>, %w: tensor<2xi32>, %b: tensor<2xi32>, %k: tensor<2xf32>) -> tensor<1x1x2x16xf32> {
  // expected-error @+1 {{'sparsity.quantized_linear' op expected x [batch, panels, features / n, 16, n], with n = 4 or the run, or rows, found [1, 1, 1, 16, 8]}}
  %y = "sparsity.quantized_linear"(%q, %s, %v, %c, %g, %o, %r, %w, %b, %k) {row_tile = 2 : i64, row_masks = [3], zero_point = 0 : i64, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0>} : (tensor<1x1x1x16x8xi8>, tensor<1x1x16xf32>, tensor<80xi8>, tensor<2xi32>, tensor<1x1x2xi32>, tensor<1xi32>, tensor<1x2xi32>, tensor<2xi32>, tensor<2xi32>, tensor<2xf32>) -> tensor<1x1x2x16xf32>
  return %y : tensor<1x1x2x16xf32>
}

// -----

func.func @f(%x: tensor<1x1x8x16xf32>, %s: tensor<1x1x16xf32>) -> tensor<1x1x8x16xi8> {
  // expected-error @+1 {{'sparsity.quantize_tokens' op expected panels of whole runs of 32 tokens, found 16 tokens}}
  %q = "sparsity.quantize_tokens"(%x, %s) {zero_point = 0 : i64, lanes = 8 : i64, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>} : (tensor<1x1x8x16xf32>, tensor<1x1x16xf32>) -> tensor<1x1x8x16xi8>
  return %q : tensor<1x1x8x16xi8>
}

// -----

func.func @f(%x: tensor<1x1x8x64xf32>, %s: tensor<1x1x64xf32>) -> tensor<1x1x8x64xi8> {
  // expected-error @+1 {{'sparsity.quantize_tokens' op expected 'lanes' of 4, 8 or 16, found 5}}
  %q = "sparsity.quantize_tokens"(%x, %s) {zero_point = 0 : i64, lanes = 5 : i64, layout = #sparsity.layout<{panel = 64 : i64, inner = 1 : i64}>} : (tensor<1x1x8x64xf32>, tensor<1x1x64xf32>) -> tensor<1x1x8x64xi8>
  return %q : tensor<1x1x8x64xi8>
}

// -----

func.func @f(%x: tensor<1x1x8x64xf32>, %s: tensor<1x1x64xf32>) -> tensor<1x1x2x64x4xi8> {
  // expected-error @+1 {{'sparsity.quantize_tokens' op expected 'lanes' beside rows of bytes, found bytes of shape [1, 1, 2, 64, 4]}}
  %q = "sparsity.quantize_tokens"(%x, %s) {zero_point = 0 : i64, lanes = 16 : i64, layout = #sparsity.layout<{panel = 64 : i64, inner = 4 : i64}>} : (tensor<1x1x8x64xf32>, tensor<1x1x64xf32>) -> tensor<1x1x2x64x4xi8>
  return %q : tensor<1x1x2x64x4xi8>
}
