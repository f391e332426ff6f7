// Every rule of the verifiers of ops of decoders.
// RUN: sparsity-opt %s --split-input-file --verify-diagnostics

func.func @f(%x: tensor<1x2x8xf32>, %w: tensor<4xf32>) {
  // expected-error @+1 {{'sparsity.rms_norm' op expected weight of shape [8], found [4]}}
  %0 = "sparsity.rms_norm"(%x, %w) {epsilon = 1.0e-6 : f64} : (tensor<1x2x8xf32>, tensor<4xf32>) -> tensor<1x2x8xf32>
  return
}

// -----

func.func @f(%x: tensor<1x2x8xf32>, %w: tensor<8xf32>) {
  // expected-error @+1 {{expected epsilon of 0 or more, found -1.0}}
  %0 = "sparsity.rms_norm"(%x, %w) {epsilon = -1.0 : f64} : (tensor<1x2x8xf32>, tensor<8xf32>) -> tensor<1x2x8xf32>
  return
}

// -----

func.func @f(%x: tensor<1x2x8xf32>, %w: tensor<8xf32>) {
  // expected-error @+1 {{expected a result of tensor<1x2x8xf32>, found tensor<2x8xf32>}}
  %0 = "sparsity.rms_norm"(%x, %w) {epsilon = 1.0 : f64} : (tensor<1x2x8xf32>, tensor<8xf32>) -> tensor<2x8xf32>
  return
}

// -----

func.func @f(%x: tensor<1x2x8xf32>, %y: tensor<2x8xf32>) {
  // expected-error @+1 {{'sparsity.gated' op expected up of tensor<1x2x8xf32>, found tensor<2x8xf32>}}
  %0 = "sparsity.gated"(%x, %y) {kind = "silu"} : (tensor<1x2x8xf32>, tensor<2x8xf32>) -> tensor<1x2x8xf32>
  return
}

// -----

func.func @f(%x: tensor<1x2x8xf32>) {
  // expected-error @+1 {{expected a kind among gelu, gelu_tanh, relu, silu, tanh, sigmoid, found 'none'}}
  %0 = "sparsity.gated"(%x, %x) {kind = "none"} : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return
}

// -----

func.func @f(%x: tensor<2x8xf32>, %c: tensor<1x2x4xf32>, %s: tensor<1x2x4xf32>) {
  // expected-error @+1 {{'sparsity.rotary' op expected x to have 3 dimensions, found [2, 8]}}
  %0 = "sparsity.rotary"(%x, %c, %s) {heads = 2 : i64} : (tensor<2x8xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<2x8xf32>
  return
}

// -----

func.func @f(%x: tensor<1x2x8xf32>, %c: tensor<1x2x4xf32>, %s: tensor<1x2x4xf32>) {
  // expected-error @+1 {{expected heads (3) to divide the features (8)}}
  %0 = "sparsity.rotary"(%x, %c, %s) {heads = 3 : i64} : (tensor<1x2x8xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x8xf32>
  return
}

// -----

func.func @f(%x: tensor<1x2x8xf32>, %c: tensor<1x2x4xf32>, %s: tensor<1x2x4xf32>) {
  // expected-error @+1 {{expected a result of tensor<1x2x8xf32>, found tensor<1x2x4xf32>}}
  %0 = "sparsity.rotary"(%x, %c, %s) {heads = 2 : i64} : (tensor<1x2x8xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x4xf32>
  return
}

// -----

func.func @f(%x: tensor<1x2x8xf32>, %c: tensor<1x2x3xf32>, %s: tensor<1x2x3xf32>) {
  // expected-error @+1 {{expected cos of shape [1 or 1, 2, an even number up to 4], found [1, 2, 3]}}
  %0 = "sparsity.rotary"(%x, %c, %s) {heads = 2 : i64} : (tensor<1x2x8xf32>, tensor<1x2x3xf32>, tensor<1x2x3xf32>) -> tensor<1x2x8xf32>
  return
}

// -----

func.func @f(%x: tensor<1x2x8xf32>, %c: tensor<1x2x6xf32>, %s: tensor<1x2x6xf32>) {
  // expected-error @+1 {{expected cos of shape [1 or 1, 2, an even number up to 4], found [1, 2, 6]}}
  %0 = "sparsity.rotary"(%x, %c, %s) {heads = 2 : i64} : (tensor<1x2x8xf32>, tensor<1x2x6xf32>, tensor<1x2x6xf32>) -> tensor<1x2x8xf32>
  return
}

// -----

func.func @f(%x: tensor<1x2x8xf32>, %c: tensor<1x2x4xf32>, %s: tensor<1x2x2xf32>) {
  // expected-error @+1 {{expected sin of tensor<1x2x4xf32>, found tensor<1x2x2xf32>}}
  %0 = "sparsity.rotary"(%x, %c, %s) {heads = 2 : i64} : (tensor<1x2x8xf32>, tensor<1x2x4xf32>, tensor<1x2x2xf32>) -> tensor<1x2x8xf32>
  return
}

// -----

func.func @f(%q: tensor<2x8xf32>, %k: tensor<1x9x4xf32>, %v: tensor<1x9x4xf32>, %l: tensor<1xi32>) {
  // expected-error @+1 {{'sparsity.cached_attention' op expected query to have 3 dimensions, found [2, 8]}}
  %0 = "sparsity.cached_attention"(%q, %k, %v, %l) {heads = 2 : i64, kv_heads = 1 : i64, scale = 0.5 : f64, causal = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<2x8xf32>, tensor<1x9x4xf32>, tensor<1x9x4xf32>, tensor<1xi32>) -> tensor<1x2x8xf32>
  return
}

// -----

func.func @f(%q: tensor<1x2x8xf32>, %k: tensor<1x9x4xf32>, %v: tensor<1x9x4xf32>, %l: tensor<1xi32>) {
  // expected-error @+1 {{expected positive heads, found 0 and 1}}
  %0 = "sparsity.cached_attention"(%q, %k, %v, %l) {heads = 0 : i64, kv_heads = 1 : i64, scale = 0.5 : f64, causal = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<1x2x8xf32>, tensor<1x9x4xf32>, tensor<1x9x4xf32>, tensor<1xi32>) -> tensor<1x2x8xf32>
  return
}

// -----

func.func @f(%q: tensor<1x2x8xf32>, %k: tensor<1x9x4xf32>, %v: tensor<1x9x4xf32>, %l: tensor<1xi32>) {
  // expected-error @+1 {{expected kv_heads (3) to divide heads (2)}}
  %0 = "sparsity.cached_attention"(%q, %k, %v, %l) {heads = 2 : i64, kv_heads = 3 : i64, scale = 0.5 : f64, causal = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<1x2x8xf32>, tensor<1x9x4xf32>, tensor<1x9x4xf32>, tensor<1xi32>) -> tensor<1x2x8xf32>
  return
}

// -----

func.func @f(%q: tensor<1x2x8xf32>, %k: tensor<1x9x4xf32>, %v: tensor<1x9x4xf32>, %l: tensor<1xi32>) {
  // expected-error @+1 {{expected heads (3) to divide the query's features (8)}}
  %0 = "sparsity.cached_attention"(%q, %k, %v, %l) {heads = 3 : i64, kv_heads = 1 : i64, scale = 0.5 : f64, causal = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<1x2x8xf32>, tensor<1x9x4xf32>, tensor<1x9x4xf32>, tensor<1xi32>) -> tensor<1x2x8xf32>
  return
}

// -----

func.func @f(%q: tensor<1x2x8xf32>, %k: tensor<1x9x8xf32>, %v: tensor<1x9x4xf32>, %l: tensor<1xi32>) {
  // expected-error @+1 {{expected keys of shape [1, 9, 4], found [1, 9, 8]}}
  %0 = "sparsity.cached_attention"(%q, %k, %v, %l) {heads = 2 : i64, kv_heads = 1 : i64, scale = 0.5 : f64, causal = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<1x2x8xf32>, tensor<1x9x8xf32>, tensor<1x9x4xf32>, tensor<1xi32>) -> tensor<1x2x8xf32>
  return
}

// -----

func.func @f(%q: tensor<1x2x8xf32>, %k: tensor<1x9x4xf32>, %v: tensor<1x7x4xf32>, %l: tensor<1xi32>) {
  // expected-error @+1 {{expected values of 9 rows as the keys [1, 9, 4], found [1, 7, 4]}}
  %0 = "sparsity.cached_attention"(%q, %k, %v, %l) {heads = 2 : i64, kv_heads = 1 : i64, scale = 0.5 : f64, causal = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<1x2x8xf32>, tensor<1x9x4xf32>, tensor<1x7x4xf32>, tensor<1xi32>) -> tensor<1x2x8xf32>
  return
}

// -----

func.func @f(%q: tensor<1x2x8xf32>, %k: tensor<1x9x8xf32>, %v: tensor<1x9x3xf32>, %l: tensor<1xi32>) {
  // expected-error @+1 {{expected kv_heads (2) to divide the values' features}}
  %0 = "sparsity.cached_attention"(%q, %k, %v, %l) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<1x2x8xf32>, tensor<1x9x8xf32>, tensor<1x9x3xf32>, tensor<1xi32>) -> tensor<1x2x8xf32>
  return
}

// -----

func.func @f(%q: tensor<1x2x8xf32>, %k: tensor<1x1x4xf32>, %v: tensor<1x1x4xf32>, %l: tensor<1xi32>) {
  // expected-error @+1 {{expected room for 2 tokens, found 1 rows}}
  %0 = "sparsity.cached_attention"(%q, %k, %v, %l) {heads = 2 : i64, kv_heads = 1 : i64, scale = 0.5 : f64, causal = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<1x2x8xf32>, tensor<1x1x4xf32>, tensor<1x1x4xf32>, tensor<1xi32>) -> tensor<1x2x8xf32>
  return
}

// -----

func.func @f(%q: tensor<1x2x8xf32>, %k: tensor<1x9x4xf32>, %v: tensor<1x9x2xf32>, %l: tensor<1xi32>) {
  // expected-error @+1 {{expected a result of shape [1, 2, 4], found [1, 2, 8]}}
  %0 = "sparsity.cached_attention"(%q, %k, %v, %l) {heads = 2 : i64, kv_heads = 1 : i64, scale = 0.5 : f64, causal = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<1x2x8xf32>, tensor<1x9x4xf32>, tensor<1x9x2xf32>, tensor<1xi32>) -> tensor<1x2x8xf32>
  return
}

// -----

func.func @f(%q: tensor<1x2x8xf32>, %k: tensor<1x9x4xf16>, %v: tensor<1x9x4xf32>, %l: tensor<1xi32>) {
  // expected-error @+1 {{expected keys and values of f32 or f16, found f16, f32}}
  %0 = "sparsity.cached_attention"(%q, %k, %v, %l) {heads = 2 : i64, kv_heads = 1 : i64, scale = 0.5 : f64, causal = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<1x2x8xf32>, tensor<1x9x4xf16>, tensor<1x9x4xf32>, tensor<1xi32>) -> tensor<1x2x8xf32>
  return
}

// -----

func.func @f(%q: tensor<1x2x8xf32>, %k: tensor<1x9x4xf32>, %v: tensor<1x9x4xf32>, %l: tensor<2xi32>) {
  // expected-error @+1 {{expected length [1] of i32, found [2] of i32}}
  %0 = "sparsity.cached_attention"(%q, %k, %v, %l) {heads = 2 : i64, kv_heads = 1 : i64, scale = 0.5 : f64, causal = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<1x2x8xf32>, tensor<1x9x4xf32>, tensor<1x9x4xf32>, tensor<2xi32>) -> tensor<1x2x8xf32>
  return
}

// -----

func.func @f(%q: tensor<1x2x8xf32>, %k: tensor<1x9x4xf32>, %v: tensor<1x9x4xf32>, %l: tensor<1xi64>) {
  // expected-error @+1 {{expected length [1] of i32, found [1] of i64}}
  %0 = "sparsity.cached_attention"(%q, %k, %v, %l) {heads = 2 : i64, kv_heads = 1 : i64, scale = 0.5 : f64, causal = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<1x2x8xf32>, tensor<1x9x4xf32>, tensor<1x9x4xf32>, tensor<1xi64>) -> tensor<1x2x8xf32>
  return
}

// -----

func.func @f(%q: tensor<1x2x8xf32>, %k: tensor<1x9x4xf32>, %v: tensor<1x9x4xf32>, %l: tensor<1xi32>) {
  // expected-error @+1 {{expected 'causal' to be true or false, found 1 : i64}}
  %0 = "sparsity.cached_attention"(%q, %k, %v, %l) {heads = 2 : i64, kv_heads = 1 : i64, scale = 0.5 : f64, causal = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<1x2x8xf32>, tensor<1x9x4xf32>, tensor<1x9x4xf32>, tensor<1xi32>) -> tensor<1x2x8xf32>
  return
}

// -----

func.func @f(%q: tensor<1x2x8xf32>, %k: tensor<1x9x4xf32>, %v: tensor<1x9x4xf32>, %l: tensor<1xi32>) {
  // expected-error @+1 {{expected 'window' of 1 or more, found 0}}
  %0 = "sparsity.cached_attention"(%q, %k, %v, %l) {heads = 2 : i64, kv_heads = 1 : i64, scale = 0.5 : f64, causal = true, window = 0 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<1x2x8xf32>, tensor<1x9x4xf32>, tensor<1x9x4xf32>, tensor<1xi32>) -> tensor<1x2x8xf32>
  return
}

// -----

func.func @f(%q: tensor<1x2x8xf32>, %k: tensor<1x9x4xf32>, %v: tensor<1x9x4xf32>, %l: tensor<1xi32>, %b: tensor<1x2x2x8xf32>) {
  // expected-error @+1 {{expected bias [1 or 1, 2 or 1, 2, 9], found [1, 2, 2, 8]}}
  %0 = "sparsity.cached_attention"(%q, %k, %v, %l, %b) {heads = 2 : i64, kv_heads = 1 : i64, scale = 0.5 : f64, causal = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1>} : (tensor<1x2x8xf32>, tensor<1x9x4xf32>, tensor<1x9x4xf32>, tensor<1xi32>, tensor<1x2x2x8xf32>) -> tensor<1x2x8xf32>
  return
}
