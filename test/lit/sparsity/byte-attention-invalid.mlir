// What the verifiers of attention on bytes reject.
// RUN: sparsity-opt %s --split-input-file --verify-diagnostics

func.func @f(%x: tensor<1x1x24x16xf32>) -> tensor<1x1x2x384xi8> {
  // expected-error @+1 {{'sparsity.quantize_heads' op expected heads and a depth in fours, found [2, 6, 8]}}
  %b = "sparsity.quantize_heads"(%x, %x) {kv_heads = 2 : i64, depth = 6 : i64, value_depth = 8 : i64, offsets = [0, 0], zero_point = 0 : i64, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>} : (tensor<1x1x24x16xf32>, tensor<1x1x24x16xf32>) -> tensor<1x1x2x384xi8>
  return %b : tensor<1x1x2x384xi8>
}

// -----

func.func @f(%x: tensor<1x1x24x16xf32>) -> tensor<1x1x2x384xi8> {
  // expected-error @+1 {{'sparsity.quantize_heads' op expected value with 25 features or more, found 24}}
  %b = "sparsity.quantize_heads"(%x, %x) {kv_heads = 2 : i64, depth = 8 : i64, value_depth = 8 : i64, offsets = [0, 9], zero_point = 0 : i64, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>} : (tensor<1x1x24x16xf32>, tensor<1x1x24x16xf32>) -> tensor<1x1x2x384xi8>
  return %b : tensor<1x1x2x384xi8>
}

// -----

func.func @f(%x: tensor<1x1x24x16xf32>) -> tensor<1x1x2x256xi8> {
  // expected-error @+1 {{'sparsity.quantize_heads' op expected a result of shape [1, 1, 2, 384], found [1, 1, 2, 256]}}
  %b = "sparsity.quantize_heads"(%x, %x) {kv_heads = 2 : i64, depth = 8 : i64, value_depth = 8 : i64, offsets = [0, 8], zero_point = 0 : i64, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>} : (tensor<1x1x24x16xf32>, tensor<1x1x24x16xf32>) -> tensor<1x1x2x256xi8>
  return %b : tensor<1x1x2x256xi8>
}

// -----

func.func @f(%x: tensor<1x1x24x16xf32>) -> tensor<1x1x2x384xi8> {
  // expected-error @+1 {{'sparsity.quantize_heads' op expected a zero point of 0 or 128, found 7}}
  %b = "sparsity.quantize_heads"(%x, %x) {kv_heads = 2 : i64, depth = 8 : i64, value_depth = 8 : i64, offsets = [0, 8], zero_point = 7 : i64, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>} : (tensor<1x1x24x16xf32>, tensor<1x1x24x16xf32>) -> tensor<1x1x2x384xi8>
  return %b : tensor<1x1x2x384xi8>
}

// -----

func.func @f(%x: tensor<1x1x24x16xf32>) -> tensor<1x1x2x384xi8> {
  // expected-error @+1 {{'sparsity.quantize_heads' op expected 'offsets' to be two positions, found [0]}}
  %b = "sparsity.quantize_heads"(%x, %x) {kv_heads = 2 : i64, depth = 8 : i64, value_depth = 8 : i64, offsets = [0], zero_point = 0 : i64, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>} : (tensor<1x1x24x16xf32>, tensor<1x1x24x16xf32>) -> tensor<1x1x2x384xi8>
  return %b : tensor<1x1x2x384xi8>
}

// -----

func.func @f(%q: tensor<1x1x16x16xf32>, %b: tensor<1x1x2x384xi8>) -> tensor<1x1x16x16xf32> {
  // expected-error @+1 {{'sparsity.quantized_attention' op expected kv_heads (2) to divide heads (3)}}
  %y = "sparsity.quantized_attention"(%q, %b) {heads = 3 : i64, kv_heads = 2 : i64, depth = 8 : i64, value_depth = 8 : i64, offset = 0 : i64, scale = 1.0 : f64, causal = false, zero_point = 0 : i64, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x1x16x16xf32>, tensor<1x1x2x384xi8>) -> tensor<1x1x16x16xf32>
  return %y : tensor<1x1x16x16xf32>
}

// -----

func.func @f(%q: tensor<1x1x16x16xf32>, %b: tensor<1x1x2x384xi8>) -> tensor<1x1x16x16xf32> {
  // expected-error @+1 {{'sparsity.quantized_attention' op expected a query with 20 features or more, found 16}}
  %y = "sparsity.quantized_attention"(%q, %b) {heads = 2 : i64, kv_heads = 2 : i64, depth = 8 : i64, value_depth = 8 : i64, offset = 4 : i64, scale = 1.0 : f64, causal = false, zero_point = 0 : i64, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x1x16x16xf32>, tensor<1x1x2x384xi8>) -> tensor<1x1x16x16xf32>
  return %y : tensor<1x1x16x16xf32>
}

// -----

func.func @f(%q: tensor<1x1x16x16xf32>, %b: tensor<1x1x2x256xi8>) -> tensor<1x1x16x16xf32> {
  // expected-error @+1 {{'sparsity.quantized_attention' op expected keys_values [1, panels, 2, 384], found [1, 1, 2, 256]}}
  %y = "sparsity.quantized_attention"(%q, %b) {heads = 2 : i64, kv_heads = 2 : i64, depth = 8 : i64, value_depth = 8 : i64, offset = 0 : i64, scale = 1.0 : f64, causal = false, zero_point = 0 : i64, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x1x16x16xf32>, tensor<1x1x2x256xi8>) -> tensor<1x1x16x16xf32>
  return %y : tensor<1x1x16x16xf32>
}

// -----

func.func @f(%q: tensor<1x1x16x16xf32>, %b: tensor<1x1x2x384xi8>, %m: tensor<1x12xf32>) -> tensor<1x1x16x16xf32> {
  // expected-error @+1 {{'sparsity.quantized_attention' op expected key_bias of shape [1, 16], found [1, 12]}}
  %y = "sparsity.quantized_attention"(%q, %b, %m) {heads = 2 : i64, kv_heads = 2 : i64, depth = 8 : i64, value_depth = 8 : i64, offset = 0 : i64, scale = 1.0 : f64, causal = false, zero_point = 0 : i64, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x1x16x16xf32>, tensor<1x1x2x384xi8>, tensor<1x12xf32>) -> tensor<1x1x16x16xf32>
  return %y : tensor<1x1x16x16xf32>
}

// -----

func.func @f(%q: tensor<1x1x16x16xf32>, %b: tensor<1x1x2x384xi8>, %m: tensor<1x1x16x8xf32>) -> tensor<1x1x16x16xf32> {
  // expected-error @+1 {{'sparsity.quantized_attention' op expected bias [1 or 1, 2 or 1, 16, 16], found [1, 1, 16, 8]}}
  %y = "sparsity.quantized_attention"(%q, %b, %m) {heads = 2 : i64, kv_heads = 2 : i64, depth = 8 : i64, value_depth = 8 : i64, offset = 0 : i64, scale = 1.0 : f64, causal = false, zero_point = 0 : i64, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 1>} : (tensor<1x1x16x16xf32>, tensor<1x1x2x384xi8>, tensor<1x1x16x8xf32>) -> tensor<1x1x16x16xf32>
  return %y : tensor<1x1x16x16xf32>
}
