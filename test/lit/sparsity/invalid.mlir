// Every rule of the verifiers: attributes, then ops in the order of their definition.
// RUN: sparsity-opt %s --split-input-file --verify-diagnostics

// Attributes of a weight: another kind of source.
func.func @f() {
  // expected-error @+1 {{'sparsity.weight' op expected 'source' to be a symbol (string) or a dense literal, found 3 : i64}}
  %0 = "sparsity.weight"() {source = 3 : i64} : () -> tensor<2x2xf32>
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{expected a literal of tensor<2x2xf32>, found tensor<2xf32>}}
  %0 = "sparsity.weight"() {source = dense<1.0> : tensor<2xf32>} : () -> tensor<2x2xf32>
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{expected 'source' to name an array, found an empty string}}
  %0 = "sparsity.weight"() {source = ""} : () -> tensor<2x2xf32>
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{expected an encoded weight to have two or more dimensions, found 1}}
  %0 = "sparsity.weight"() {source = "w", sparsity.encoding = #sparsity.dense<{}>} : () -> tensor<4xf32>
  return
}

// -----

// Encodings: every field, each once.
func.func @f() {
  // expected-error @+1 {{expected 'sparsity.encoding' to be one of #sparsity.dense, #sparsity.block}}
  %0 = "sparsity.weight"() {source = "w", sparsity.encoding = #sparsity.layout<{panel = 4 : i64, inner = 1 : i64}>} : () -> tensor<2x2xf32>
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{unknown field 'block_rows' of #sparsity.dense; accepted: none}}
  %0 = "sparsity.weight"() {source = "w", sparsity.encoding = #sparsity.dense<{block_rows = 4 : i64}>} : () -> tensor<2x2xf32>
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{unknown field 'n' of #sparsity.unstructured; accepted: none}}
  %0 = "sparsity.weight"() {source = "w", sparsity.encoding = #sparsity.unstructured<{n = 4 : i64}>} : () -> tensor<2x2xf32>
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{expected #sparsity.bcr to have 'block_rows', found ['block_columns']}}
  %0 = "sparsity.weight"() {source = "w", sparsity.encoding = #sparsity.bcr<{block_columns = 4 : i64}>} : () -> tensor<2x2xf32>
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{expected #sparsity.bcr to have 'block_columns', found ['block_rows']}}
  %0 = "sparsity.weight"() {source = "w", sparsity.encoding = #sparsity.bcr<{block_rows = 4 : i64}>} : () -> tensor<2x2xf32>
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{expected 'block_columns' of #sparsity.bcr to be a positive integer, found 0}}
  %0 = "sparsity.weight"() {source = "w", sparsity.encoding = #sparsity.bcr<{block_rows = 4 : i64, block_columns = 0 : i64}>} : () -> tensor<2x2xf32>
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{expected 'block_rows' of #sparsity.bcr to be a positive integer, found 4.0}}
  %0 = "sparsity.weight"() {source = "w", sparsity.encoding = #sparsity.bcr<{block_rows = 4.0 : f64, block_columns = 1 : i64}>} : () -> tensor<2x2xf32>
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{expected 'block_rows' of #sparsity.bcr to be a positive integer, found True}}
  %0 = "sparsity.weight"() {source = "w", sparsity.encoding = #sparsity.bcr<{block_rows = true, block_columns = 1 : i64}>} : () -> tensor<2x2xf32>
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{unknown field 'rows' of #sparsity.bcr; accepted: block_rows, block_columns}}
  %0 = "sparsity.weight"() {source = "w", sparsity.encoding = #sparsity.bcr<{block_rows = 4 : i64, block_columns = 1 : i64, rows = 1 : i64}>} : () -> tensor<2x2xf32>
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{expected #sparsity.block to have 'chunk_columns', found []}}
  %0 = "sparsity.weight"() {source = "w", sparsity.encoding = #sparsity.block<{}>} : () -> tensor<2x2xf32>
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{expected #sparsity.pattern to have 'patterns', found ['size']}}
  %0 = "sparsity.weight"() {source = "w", sparsity.encoding = #sparsity.pattern<{size = 2 : i64}>} : () -> tensor<2x2xf32>
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{expected #sparsity.pattern to have 'size', found ['patterns']}}
  %0 = "sparsity.weight"() {source = "w", sparsity.encoding = #sparsity.pattern<{patterns = [1]}>} : () -> tensor<2x2xf32>
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{expected 'size' of #sparsity.pattern from 1 to 7, found 8}}
  %0 = "sparsity.weight"() {source = "w", sparsity.encoding = #sparsity.pattern<{size = 8 : i64, patterns = [1]}>} : () -> tensor<2x2xf32>
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{expected at least one mask in 'patterns' of #sparsity.pattern, found none}}
  %0 = "sparsity.weight"() {source = "w", sparsity.encoding = #sparsity.pattern<{size = 2 : i64, patterns = []}>} : () -> tensor<2x2xf32>
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{expected 'patterns' of #sparsity.pattern to be a list of integers, found 9}}
  %0 = "sparsity.weight"() {source = "w", sparsity.encoding = #sparsity.pattern<{size = 2 : i64, patterns = 9 : i64}>} : () -> tensor<2x2xf32>
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{expected masks of #sparsity.pattern to have 4 bits, found 16}}
  %0 = "sparsity.weight"() {source = "w", sparsity.encoding = #sparsity.pattern<{size = 2 : i64, patterns = [16]}>} : () -> tensor<2x2xf32>
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{expected #sparsity.punched to have 'block_channels', found ['block_filters']}}
  %0 = "sparsity.weight"() {source = "w", sparsity.encoding = #sparsity.punched<{block_filters = 4 : i64}>} : () -> tensor<2x2xf32>
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{expected #sparsity.nm to have 'n', found ['m']}}
  %0 = "sparsity.weight"() {source = "w", sparsity.encoding = #sparsity.nm<{m = 4 : i64}>} : () -> tensor<2x2xf32>
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{expected n < m in #sparsity.nm, found n = 4, m = 4}}
  %0 = "sparsity.weight"() {source = "w", sparsity.encoding = #sparsity.nm<{n = 4 : i64, m = 4 : i64}>} : () -> tensor<2x2xf32>
  return
}

// -----

// Linear.
func.func @f(%x: tensor<6x4xf32>, %w: tensor<4xf32>) {
  // expected-error @+1 {{'sparsity.linear' op expected a weight [rows, columns], found shape [4]}}
  %0 = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<6x4xf32>, tensor<4xf32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<6x4xf32>, %w: tensor<2x3xf32>) {
  // expected-error @+1 {{expected x with 3 features (the weight's columns), found [6, 4]}}
  %0 = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<6x4xf32>, tensor<2x3xf32>) -> tensor<6x2xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %w: tensor<2x3xf32>) {
  // expected-error @+1 {{expected a result of shape [6, 2], found [6, 3]}}
  %0 = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<6x3xf32>, tensor<2x3xf32>) -> tensor<6x3xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %w: tensor<2x3xf32>) {
  // expected-error @+1 {{has no panel layout; 'sparsity.packed_linear' has}}
  %0 = "sparsity.linear"(%x, %w) {layout = #sparsity.layout<{panel = 4 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<6x3xf32>, tensor<2x3xf32>) -> tensor<6x2xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %w: tensor<2x3xf32>, %b: tensor<3xf32>) {
  // expected-error @+1 {{expected a bias of shape [2], found [3]}}
  %0 = "sparsity.linear"(%x, %w, %b) {operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<6x3xf32>, tensor<2x3xf32>, tensor<3xf32>) -> tensor<6x2xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %w: tensor<2x3xf32>, %r: tensor<6x3xf32>) {
  // expected-error @+1 {{expected the residual to have the result's type}}
  %0 = "sparsity.linear"(%x, %w, %r) {operandSegmentSizes = array<i32: 1, 1, 0, 1>} : (tensor<6x3xf32>, tensor<2x3xf32>, tensor<6x3xf32>) -> tensor<6x2xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %w: tensor<2x3xf32>) {
  // expected-error @+1 {{expected an activation among none, gelu, gelu_tanh, relu, silu, tanh, sigmoid, found 'swish'}}
  %0 = "sparsity.linear"(%x, %w) {activation = "swish", operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<6x3xf32>, tensor<2x3xf32>) -> tensor<6x2xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %w: tensor<2x3xf32>) {
  // expected-error @+1 {{expected 'sparsity.schedule' to be #sparsity.schedule, found 4 : i64}}
  %0 = "sparsity.linear"(%x, %w) {sparsity.schedule = 4 : i64, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<6x3xf32>, tensor<2x3xf32>) -> tensor<6x2xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %w: tensor<2x3xf32>) {
  // expected-error @+1 {{unknown field 'tile' of #sparsity.schedule; accepted: row_tile, token_vectors, unroll, tile_group, workgroups, row_vectors}}
  %0 = "sparsity.linear"(%x, %w) {sparsity.schedule = #sparsity.schedule<{tile = 4 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<6x3xf32>, tensor<2x3xf32>) -> tensor<6x2xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %w: tensor<2x3xf32>) {
  // expected-error @+1 {{expected 'unroll' of #sparsity.schedule to be a positive integer, found 0}}
  %0 = "sparsity.linear"(%x, %w) {sparsity.schedule = #sparsity.schedule<{unroll = 0 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<6x3xf32>, tensor<2x3xf32>) -> tensor<6x2xf32>
  return
}

// -----

// Attention.
func.func @f(%q: tensor<6x4xf32>, %k: tensor<1x6x4xf32>, %v: tensor<1x6x4xf32>) {
  // expected-error @+1 {{'sparsity.attention' op expected query to have 3 dimensions, found [6, 4]}}
  %0 = "sparsity.attention"(%q, %k, %v) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<6x4xf32>, tensor<1x6x4xf32>, tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%q: tensor<1x6x4xf32>, %k: tensor<1x6x4xf32>, %v: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected query to have 4 dimensions, found [1, 6, 4]}}
  %0 = "sparsity.attention"(%q, %k, %v) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, layout = #sparsity.layout<{panel = 4 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%q: tensor<1x2x4x8xf32>, %k: tensor<1x2x4x4xf32>, %v: tensor<1x2x4x4xf32>) {
  // expected-error @+1 {{expected [batch, panels, features, 4] in this layout, found [1, 2, 4, 8]}}
  %0 = "sparsity.attention"(%q, %k, %v) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, layout = #sparsity.layout<{panel = 4 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x2x4x8xf32>, tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  return
}

// -----

func.func @f(%q: tensor<1x6x4xf32>, %k: tensor<1x6x4xf32>, %v: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected 'causal' to be true or false, found 1 : i64}}
  %0 = "sparsity.attention"(%q, %k, %v) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%q: tensor<1x6x4xf32>, %k: tensor<1x6x4xf32>, %v: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected positive heads, found 0 and 2}}
  %0 = "sparsity.attention"(%q, %k, %v) {heads = 0 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%q: tensor<1x6x4xf32>, %k: tensor<1x6x4xf32>, %v: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected positive heads, found 2 and 0}}
  %0 = "sparsity.attention"(%q, %k, %v) {heads = 2 : i64, kv_heads = 0 : i64, scale = 0.5 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%q: tensor<1x6x4xf32>, %k: tensor<1x6x4xf32>, %v: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected kv_heads (3) to divide heads (4)}}
  %0 = "sparsity.attention"(%q, %k, %v) {heads = 4 : i64, kv_heads = 3 : i64, scale = 0.5 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%q: tensor<1x6x4xf32>, %k: tensor<1x6x4xf32>, %v: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected heads (3) to divide the query's features (4)}}
  %0 = "sparsity.attention"(%q, %k, %v) {heads = 3 : i64, kv_heads = 3 : i64, scale = 0.5 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%q: tensor<1x6x4xf32>, %k: tensor<1x6x4xf32>, %v: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected key with 2 features, found 4}}
  %0 = "sparsity.attention"(%q, %k, %v) {heads = 2 : i64, kv_heads = 1 : i64, scale = 0.5 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%q: tensor<1x6x4xf32>, %k: tensor<1x6x4xf32>, %v: tensor<1x6x3xf32>) {
  // expected-error @+1 {{expected kv_heads (2) to divide the value's features}}
  %0 = "sparsity.attention"(%q, %k, %v) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x6x3xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%q: tensor<1x6x4xf32>, %k: tensor<1x6x4xf32>, %v: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected a result with 4 features, found 6}}
  %0 = "sparsity.attention"(%q, %k, %v) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x6x4xf32>) -> tensor<1x6x6xf32>
  return
}

// -----

func.func @f(%q: tensor<1x6x4xf32>, %k: tensor<1x6x4xf32>, %v: tensor<1x5x4xf32>) {
  // expected-error @+1 {{expected key and value of equal length, found [1, 6, 4] and [1, 5, 4]}}
  %0 = "sparsity.attention"(%q, %k, %v) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x5x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%q: tensor<1x6x4xf32>, %k: tensor<1x6x4xf32>, %v: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected a result as long as the query [1, 6, 4], found [1, 5, 4]}}
  %0 = "sparsity.attention"(%q, %k, %v) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x6x4xf32>) -> tensor<1x5x4xf32>
  return
}

// -----

func.func @f(%q: tensor<1x6x4xf32>, %k: tensor<1x6x4xf32>, %v: tensor<1x6x4xf32>, %m: tensor<1x5xf32>) {
  // expected-error @+1 {{expected key_bias of shape [1, 6], found [1, 5]}}
  %0 = "sparsity.attention"(%q, %k, %v, %m) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x5xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%q: tensor<1x6x4xf32>, %k: tensor<1x6x4xf32>, %v: tensor<1x6x4xf32>, %b: tensor<1x2x6x5xf32>) {
  // expected-error @+1 {{expected bias [1 or 1, 2 or 1, 6, 6], found [1, 2, 6, 5]}}
  %0 = "sparsity.attention"(%q, %k, %v, %b) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 0, 1>} : (tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x2x6x5xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

// In panels a bias is transposed: keys, then tokens.
func.func @f(%q: tensor<1x2x4x4xf32>, %k: tensor<1x3x4x4xf32>, %v: tensor<1x3x4x4xf32>, %b: tensor<1x1x8x12xf32>) {
  // expected-error @+1 {{expected bias [1 or 1, 2 or 1, 12, 8], found [1, 1, 8, 12]}}
  %0 = "sparsity.attention"(%q, %k, %v, %b) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, layout = #sparsity.layout<{panel = 4 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 0, 1>} : (tensor<1x2x4x4xf32>, tensor<1x3x4x4xf32>, tensor<1x3x4x4xf32>, tensor<1x1x8x12xf32>) -> tensor<1x2x4x4xf32>
  return
}

// -----

func.func @f(%q: tensor<1x6x4xf32>, %k: tensor<1x6x4xf32>, %v: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected 'sparsity.schedule' to be #sparsity.schedule, found 1 : i64}}
  %0 = "sparsity.attention"(%q, %k, %v) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, sparsity.schedule = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

// Attention on a merged tensor.
func.func @f(%q: tensor<1x6x4xf32>, %k: tensor<1x6x4xf32>, %v: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected 'offsets' to be three positions, found [0, 4]}}
  %0 = "sparsity.attention"(%q, %k, %v) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, offsets = [0, 4], depth = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%q: tensor<1x6x4xf32>, %k: tensor<1x6x4xf32>, %v: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected 'offsets' to be three positions, found [0, -1, 0]}}
  %0 = "sparsity.attention"(%q, %k, %v) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, offsets = [0, -1, 0], depth = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%q: tensor<1x6x4xf32>, %k: tensor<1x6x4xf32>, %v: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected 'depth' beside 'offsets', found none}}
  %0 = "sparsity.attention"(%q, %k, %v) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, offsets = [0, 0, 0], operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%q: tensor<1x6x4xf32>, %k: tensor<1x6x4xf32>, %v: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected 'depth' to be a positive integer, found 0}}
  %0 = "sparsity.attention"(%q, %k, %v) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, offsets = [0, 0, 0], depth = 0 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%q: tensor<1x6x4xf32>, %k: tensor<1x6x4xf32>, %v: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected heads (3) to divide the result's features (4)}}
  %0 = "sparsity.attention"(%q, %k, %v) {heads = 3 : i64, kv_heads = 3 : i64, scale = 0.5 : f64, causal = false, offsets = [0, 0, 0], depth = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%q: tensor<1x6x4xf32>, %k: tensor<1x6x4xf32>, %v: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected key with 5 features or more, found 4}}
  %0 = "sparsity.attention"(%q, %k, %v) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = false, offsets = [0, 1, 0], depth = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x6x4xf32>, tensor<1x6x4xf32>, tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

// Layer norm.
func.func @f(%x: tensor<1x6x4xf32>, %w: tensor<4xf32>, %b: tensor<4xf32>) {
  // expected-error @+1 {{'sparsity.layer_norm' op expected a result of tensor<1x6x4xf32>, found tensor<1x6x3xf32>}}
  %0 = "sparsity.layer_norm"(%x, %w, %b) {epsilon = 1.0e-5 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x6x4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<1x6x3xf32>
  return
}

// -----

func.func @f(%x: tensor<1x6x4xf32>, %w: tensor<4xf32>, %b: tensor<4xf32>) {
  // expected-error @+1 {{expected [batch, panels, features, 4] in this layout, found [1, 6, 4]}}
  %0 = "sparsity.layer_norm"(%x, %w, %b) {epsilon = 1.0e-5 : f64, layout = #sparsity.layout<{panel = 4 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x6x4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<f32>, %w: tensor<4xf32>, %b: tensor<4xf32>) {
  // expected-error @+1 {{expected x to have at least one dimension, found none}}
  %0 = "sparsity.layer_norm"(%x, %w, %b) {epsilon = 1.0e-5 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<f32>, tensor<4xf32>, tensor<4xf32>) -> tensor<f32>
  return
}

// -----

func.func @f(%x: tensor<1x6x4xf32>, %w: tensor<3xf32>, %b: tensor<4xf32>) {
  // expected-error @+1 {{expected weight of shape [4], found [3]}}
  %0 = "sparsity.layer_norm"(%x, %w, %b) {epsilon = 1.0e-5 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x6x4xf32>, tensor<3xf32>, tensor<4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<1x6x4xf32>, %w: tensor<4xf32>, %b: tensor<3xf32>) {
  // expected-error @+1 {{expected bias of shape [4], found [3]}}
  %0 = "sparsity.layer_norm"(%x, %w, %b) {epsilon = 1.0e-5 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x6x4xf32>, tensor<4xf32>, tensor<3xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<1x6x4xf32>, %w: tensor<4xf32>, %b: tensor<4xf32>, %r: tensor<1x6x3xf32>) {
  // expected-error @+1 {{expected a residual of tensor<1x6x4xf32>, found tensor<1x6x3xf32>}}
  %0 = "sparsity.layer_norm"(%x, %w, %b, %r) {epsilon = 1.0e-5 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1>} : (tensor<1x6x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<1x6x3xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<1x6x4xf32>, %w: tensor<4xf32>, %b: tensor<4xf32>) {
  // expected-error @+1 {{expected epsilon of 0 or more, found -1.0}}
  %0 = "sparsity.layer_norm"(%x, %w, %b) {epsilon = -1.0 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x6x4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

// Activation.
func.func @f(%x: tensor<1x6x4xf32>) {
  // expected-error @+1 {{'sparsity.activation' op expected a result of tensor<1x6x4xf32>, found tensor<6x4xf32>}}
  %0 = "sparsity.activation"(%x) {kind = "relu"} : (tensor<1x6x4xf32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected a kind among gelu, gelu_tanh, relu, silu, tanh, sigmoid, found 'none'}}
  %0 = "sparsity.activation"(%x) {kind = "none"} : (tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected 'layout' to be #sparsity.layout, found 4 : i64}}
  %0 = "sparsity.activation"(%x) {kind = "relu", layout = 4 : i64} : (tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

// Layouts: panels of a positive size, one feature at a time.
func.func @f(%x: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected #sparsity.layout to have 'inner', found ['panel']}}
  %0 = "sparsity.activation"(%x) {kind = "relu", layout = #sparsity.layout<{panel = 4 : i64}>} : (tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected 'panel' of #sparsity.layout to be a positive integer, found -4}}
  %0 = "sparsity.activation"(%x) {kind = "relu", layout = #sparsity.layout<{panel = -4 : i64, inner = 1 : i64}>} : (tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected [batch, panels, features / 4, 4, 4] in this layout, found [1, 6, 4]}}
  %0 = "sparsity.activation"(%x) {kind = "relu", layout = #sparsity.layout<{panel = 4 : i64, inner = 4 : i64}>} : (tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

// Add.
func.func @f(%x: tensor<4xf32>, %y: tensor<3xf32>) {
  // expected-error @+1 {{'sparsity.add' op expected operands of one type, found tensor<4xf32> and tensor<3xf32>}}
  %0 = "sparsity.add"(%x, %y) : (tensor<4xf32>, tensor<3xf32>) -> tensor<4xf32>
  return
}

// -----

func.func @f(%x: tensor<4xf32>) {
  // expected-error @+1 {{expected a result of tensor<4xf32>, found tensor<4xf64>}}
  %0 = "sparsity.add"(%x, %x) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf64>
  return
}

// -----

func.func @f(%x: tensor<4xf32>) {
  // expected-error @+1 {{expected [batch, panels, features, 4] in this layout, found [4]}}
  %0 = "sparsity.add"(%x, %x) {layout = #sparsity.layout<{panel = 4 : i64, inner = 1 : i64}>} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----

// Embedding.
func.func @f(%i: tensor<1x6xi64>, %t: tensor<9xf32>) {
  // expected-error @+1 {{'sparsity.embedding' op expected a table [entries, features], found shape [9]}}
  %0 = "sparsity.embedding"(%i, %t) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x6xi64>, tensor<9xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%i: tensor<1x6xf32>, %t: tensor<9x4xf32>) {
  // expected-error @+1 {{expected indices of integers, found f32}}
  %0 = "sparsity.embedding"(%i, %t) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x6xf32>, tensor<9x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%i: tensor<1x6xi64>, %t: tensor<9x4xf32>) {
  // expected-error @+1 {{expected a result of shape [1, 6, 4], found [6, 4]}}
  %0 = "sparsity.embedding"(%i, %t) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x6xi64>, tensor<9x4xf32>) -> tensor<6x4xf32>
  return
}

// -----

// Packed linear.
func.func @f(%x: tensor<6x3xf32>, %values: tensor<6xf32>, %columns: tensor<3xi32>, %segments: tensor<2x1x2xi32>, %offsets: tensor<2xi32>, %rows: tensor<2x2xi32>, %work: tensor<2xi32>) {
  // expected-error @+1 {{'sparsity.packed_linear' op expected row_tile from 1 to 32, found 0}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 0 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<6x3xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %values: tensor<6xf32>, %columns: tensor<3xi32>, %segments: tensor<2x1x2xi32>, %offsets: tensor<2xi32>, %rows: tensor<2x2xi32>, %work: tensor<2xi32>) {
  // expected-error @+1 {{expected row_tile from 1 to 32, found 33}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 33 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<6x3xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %values: tensor<6xf32>, %columns: tensor<3xi32>, %segments: tensor<2x1x2xi32>, %offsets: tensor<2xi32>, %rows: tensor<2x2xi32>, %work: tensor<2xi32>) {
  // expected-error @+1 {{expected at least one row mask, found none}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<6x3xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %values: tensor<6xf32>, %columns: tensor<3xi32>, %segments: tensor<2x1x2xi32>, %offsets: tensor<2xi32>, %rows: tensor<2x2xi32>, %work: tensor<2xi32>) {
  // expected-error @+1 {{expected row masks to be integers, found ["a"]}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = ["a"], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<6x3xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %values: tensor<6xf32>, %columns: tensor<3xi32>, %segments: tensor<2x1x2xi32>, %offsets: tensor<2xi32>, %rows: tensor<2x2xi32>, %work: tensor<2xi32>) {
  // expected-error @+1 {{expected row masks of 2 bits, none empty, found 4}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [4], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<6x3xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %values: tensor<6xf32>, %columns: tensor<3xi32>, %segments: tensor<2x1x2xi32>, %offsets: tensor<2xi32>, %rows: tensor<2x2xi32>, %work: tensor<2xi32>) {
  // expected-error @+1 {{expected row masks of 2 bits, none empty, found 0}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [0], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<6x3xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %values: tensor<6xf32>, %columns: tensor<3xi32>, %segments: tensor<2x1x2xi32>, %offsets: tensor<2xi32>, %rows: tensor<2x2xi32>, %work: tensor<2xi32>) {
  // expected-error @+1 {{expected different row masks, found [3, 3]}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [3, 3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<6x3xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %values: tensor<6xf32>, %columns: tensor<3xi32>, %segments: tensor<2x1x2xi32>, %offsets: tensor<2xi32>, %rows: tensor<2x3xi32>, %work: tensor<2xi32>) {
  // expected-error @+1 {{expected rows [tiles, 2], found [2, 3]}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<6x3xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x3xi32>, tensor<2xi32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %values: tensor<6xf32>, %columns: tensor<3xi32>, %segments: tensor<2x2x2xi32>, %offsets: tensor<2xi32>, %rows: tensor<2x2xi32>, %work: tensor<2xi32>) {
  // expected-error @+1 {{expected segments of shape [2, 1, 2], found [2, 2, 2]}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<6x3xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x2x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %values: tensor<6xf32>, %columns: tensor<3xi32>, %segments: tensor<2x1x2xi32>, %offsets: tensor<3xi32>, %rows: tensor<2x2xi32>, %work: tensor<2xi32>) {
  // expected-error @+1 {{expected offsets of shape [2], found [3]}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<6x3xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<3xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %values: tensor<6x1xf32>, %columns: tensor<3xi32>, %segments: tensor<2x1x2xi32>, %offsets: tensor<2xi32>, %rows: tensor<2x2xi32>, %work: tensor<2xi32>) {
  // expected-error @+1 {{expected values to have one dimension, found [6, 1]}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<6x3xf32>, tensor<6x1xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %values: tensor<6xf32>, %columns: tensor<3x1xi32>, %segments: tensor<2x1x2xi32>, %offsets: tensor<2xi32>, %rows: tensor<2x2xi32>, %work: tensor<2xi32>) {
  // expected-error @+1 {{expected columns to have one dimension, found [3, 1]}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<6x3xf32>, tensor<6xf32>, tensor<3x1xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %values: tensor<6xf32>, %columns: tensor<3xi32>, %segments: tensor<2x1x2xi32>, %offsets: tensor<2xi32>, %rows: tensor<2x2xi32>, %work: tensor<2x1xi32>) {
  // expected-error @+1 {{expected work to have one dimension, found [2, 1]}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<6x3xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2x1xi32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %values: tensor<6xf32>, %columns: tensor<3xi64>, %segments: tensor<2x1x2xi32>, %offsets: tensor<2xi32>, %rows: tensor<2x2xi32>, %work: tensor<2xi32>) {
  // expected-error @+1 {{expected columns of i32, found i64}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<6x3xf32>, tensor<6xf32>, tensor<3xi64>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %values: tensor<6xf32>, %columns: tensor<3xi32>, %segments: tensor<2x1x2xi64>, %offsets: tensor<2xi32>, %rows: tensor<2x2xi32>, %work: tensor<2xi32>) {
  // expected-error @+1 {{expected segments of i32, found i64}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<6x3xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi64>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %values: tensor<6xf32>, %columns: tensor<3xi32>, %segments: tensor<2x1x2xi32>, %offsets: tensor<2xi64>, %rows: tensor<2x2xi32>, %work: tensor<2xi32>) {
  // expected-error @+1 {{expected offsets of i32, found i64}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<6x3xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi64>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %values: tensor<6xf32>, %columns: tensor<3xi32>, %segments: tensor<2x1x2xi32>, %offsets: tensor<2xi32>, %rows: tensor<2x2xi64>, %work: tensor<2xi32>) {
  // expected-error @+1 {{expected rows of i32, found i64}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<6x3xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi64>, tensor<2xi32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %values: tensor<6xf32>, %columns: tensor<3xi32>, %segments: tensor<2x1x2xi32>, %offsets: tensor<2xi32>, %rows: tensor<2x2xi32>, %work: tensor<2xi64>) {
  // expected-error @+1 {{expected work of i32, found i64}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<6x3xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi64>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<3xf32>, %values: tensor<6xf32>, %columns: tensor<3xi32>, %segments: tensor<2x1x2xi32>, %offsets: tensor<2xi32>, %rows: tensor<2x2xi32>, %work: tensor<2xi32>) {
  // expected-error @+1 {{expected x and result of equal rank, found [3] and [6, 4]}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<3xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<5x3xf32>, %values: tensor<6xf32>, %columns: tensor<3xi32>, %segments: tensor<2x1x2xi32>, %offsets: tensor<2xi32>, %rows: tensor<2x2xi32>, %work: tensor<2xi32>) {
  // expected-error @+1 {{expected x and result to differ in features only, found [5, 3] and [6, 4]}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<5x3xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %values: tensor<6xf32>, %columns: tensor<3xi32>, %segments: tensor<2x1x2xi32>, %offsets: tensor<2xi32>, %rows: tensor<2x2xi32>, %work: tensor<2xi32>, %b: tensor<3xf32>) {
  // expected-error @+1 {{expected a bias of shape [4], found [3]}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work, %b) {row_tile = 2 : i64, row_masks = [3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 0, 0>} : (tensor<6x3xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>, tensor<3xf32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %values: tensor<6xf32>, %columns: tensor<3xi32>, %segments: tensor<2x1x2xi32>, %offsets: tensor<2xi32>, %rows: tensor<2x2xi32>, %work: tensor<2xi32>) {
  // expected-error @+1 {{expected an activation among none, gelu, gelu_tanh, relu, silu, tanh, sigmoid, found 'unit'}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [3], activation = unit, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<6x3xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<1x2x3x8xf32>, %values: tensor<6xf32>, %columns: tensor<3xi32>, %segments: tensor<2x1x2xi32>, %offsets: tensor<2xi32>, %rows: tensor<2x2xi32>, %work: tensor<2xi32>) {
  // expected-error @+1 {{expected [batch, panels, features, 4] in this layout, found [1, 2, 3, 8]}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [3], layout = #sparsity.layout<{panel = 4 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<1x2x3x8xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<1x2x4x8xf32>
  return
}

// -----

func.func @f(%x: tensor<1x2x3x4xf32>, %values: tensor<6xf32>, %columns: tensor<3xi32>, %segments: tensor<2x1x2xi32>, %offsets: tensor<2xi32>, %rows: tensor<2x2xi32>, %work: tensor<2xi32>) {
  // expected-error @+1 {{expected x and result to differ in features only, found [1, 2, 3, 4] and [1, 3, 4, 4]}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [3], layout = #sparsity.layout<{panel = 4 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<1x2x3x4xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<1x3x4x4xf32>
  return
}

// -----

func.func @f(%x: tensor<6x3xf32>, %values: tensor<6xf32>, %columns: tensor<3xi32>, %segments: tensor<2x1x2xi32>, %offsets: tensor<2xi32>, %rows: tensor<2x2xi32>, %work: tensor<2xi32>) {
  // expected-error @+1 {{expected 'sparsity.schedule' to be #sparsity.schedule, found 1 : i64}}
  %0 = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [3], sparsity.schedule = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<6x3xf32>, tensor<6xf32>, tensor<3xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>) -> tensor<6x4xf32>
  return
}

// -----

// Panels.
func.func @f(%x: tensor<6x4xf32>) {
  // expected-error @+1 {{'sparsity.to_panels' op expected [batch, tokens, features], found shape [6, 4]}}
  %0 = "sparsity.to_panels"(%x) {layout = #sparsity.layout<{panel = 4 : i64, inner = 1 : i64}>} : (tensor<6x4xf32>) -> tensor<1x2x4x4xf32>
  return
}

// -----

func.func @f(%x: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected panels of shape [1, 2, 4, 4], found [1, 3, 4, 4]}}
  %0 = "sparsity.to_panels"(%x) {layout = #sparsity.layout<{panel = 4 : i64, inner = 1 : i64}>} : (tensor<1x6x4xf32>) -> tensor<1x3x4x4xf32>
  return
}

// -----

func.func @f(%x: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected 'inner' of #sparsity.layout to be 1, 4 or 8, found 2}}
  %0 = "sparsity.to_panels"(%x) {layout = #sparsity.layout<{panel = 4 : i64, inner = 2 : i64}>} : (tensor<1x6x4xf32>) -> tensor<1x2x4x4xf32>
  return
}

// -----

func.func @f(%x: tensor<1x2x4x4xf32>) {
  // expected-error @+1 {{'sparsity.from_panels' op expected [batch, tokens, features], found shape [6, 4]}}
  %0 = "sparsity.from_panels"(%x) {layout = #sparsity.layout<{panel = 4 : i64, inner = 1 : i64}>} : (tensor<1x2x4x4xf32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<1x2x4x4xf32>) {
  // expected-error @+1 {{expected panels of shape [1, 3, 4, 4], found [1, 2, 4, 4]}}
  %0 = "sparsity.from_panels"(%x) {layout = #sparsity.layout<{panel = 4 : i64, inner = 1 : i64}>} : (tensor<1x2x4x4xf32>) -> tensor<1x9x4xf32>
  return
}

// -----

func.func @f(%x: tensor<1x2x4x4xf32>) {
  // expected-error @+1 {{expected #sparsity.layout to have 'panel', found ['inner']}}
  %0 = "sparsity.from_panels"(%x) {layout = #sparsity.layout<{inner = 1 : i64}>} : (tensor<1x2x4x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

// What the definition of an op declares, without a rule of ours.
func.func @f(%x: tensor<1x6x4xf32>) {
  // expected-error @+1 {{attribute "kind" is expected but not provided}}
  %0 = "sparsity.activation"(%x) : (tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  return
}

// -----

func.func @f(%x: tensor<1x6x4xf32>) {
  // expected-error @+1 {{expected base attribute 'sparsity.layout' but got 'sparsity.dense'}}
  %0 = "sparsity.to_panels"(%x) {layout = #sparsity.dense<{}>} : (tensor<1x6x4xf32>) -> tensor<1x2x4x4xf32>
  return
}

// -----

// A misspelt attribute would be ignored, so only known names and those with another dialect's prefix are accepted.
func.func @f(%x: tensor<2x4xf32>, %w: tensor<8x4xf32>) -> tensor<2x8xf32> {
  // expected-error @+1 {{'sparsity.linear' op has the unknown attribute 'activaton'; accepted: activation, operandSegmentSizes; did you mean 'activation'?}}
  %y = "sparsity.linear"(%x, %w) {activaton = "relu", operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<2x4xf32>, tensor<8x4xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

func.func @f(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  // expected-error @+1 {{'sparsity.add' op has the unknown attribute 'sparsity.shedule'; accepted: layout, sparsity.chain, sparsity.encoding}}
  %y = "sparsity.add"(%x, %x) {sparsity.shedule = #sparsity.schedule<{}>} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

func.func @f(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  // expected-error @+1 {{'sparsity.add' op has the unknown attribute 'kind'; accepted: layout}}
  %y = "sparsity.add"(%x, %x) {kind = "relu", other.kind = "relu"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

// Values of known attributes are checked on every op.
func.func @f(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  // expected-error @+1 {{'sparsity.add' op expected 'sparsity.schedule' to be #sparsity.schedule, found 3 : i64}}
  %y = "sparsity.add"(%x, %x) {sparsity.schedule = 3 : i64} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

func.func @f(%x: tensor<2x4xf32>, %w: tensor<8x4xf32>) -> tensor<2x8xf32> {
  // expected-error @+1 {{'sparsity.linear' op expected 'sparsity.order' to be a dense list of row numbers, found 3 : i64}}
  %y = "sparsity.linear"(%x, %w) {sparsity.order = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<2x4xf32>, tensor<8x4xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

// Segments, numbers of operands and missing attributes are told by the structural verifier, not by a rule.
func.func @f(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  // expected-error @+1 {{expects exactly 2 operands, but got 1}}
  %y = "sparsity.add"(%x) : (tensor<2x4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

func.func @f(%x: tensor<2x4xf32>, %w: tensor<4xf32>) -> tensor<2x4xf32> {
  // expected-error @+1 {{attribute "epsilon" is expected but not provided}}
  %y = "sparsity.layer_norm"(%x, %w, %w) {operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}
