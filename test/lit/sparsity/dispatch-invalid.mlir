// Rules of the dispatch: its grid, shapes, and results in the storage of operands.
// RUN: sparsity-opt %s --split-input-file --verify-diagnostics

func.func @f(%x: tensor<4xf32>) {
  // expected-error @+1 {{'sparsity.dispatch' op expected 'grid' to be an array<i64: ...>, found [1, 1, 1]}}
  %0 = "sparsity.dispatch"(%x) {kernel = @k, grid = [1, 1, 1], operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0>} : (tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----

func.func @f(%x: tensor<4xf32>) {
  // expected-error @+1 {{expected a grid of three positive sizes, found [1, 1]}}
  %0 = "sparsity.dispatch"(%x) {kernel = @k, grid = array<i64: 1, 1>, operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0>} : (tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----

func.func @f(%x: tensor<4xf32>) {
  // expected-error @+1 {{expected a grid of three positive sizes, found [1, 0, 1]}}
  %0 = "sparsity.dispatch"(%x) {kernel = @k, grid = array<i64: 1, 0, 1>, operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0>} : (tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----

func.func @f(%x: tensor<?xf32>) {
  // expected-error @+1 {{expected static shapes, found tensor<?xf32>}}
  %0 = "sparsity.dispatch"(%x) {kernel = @k, grid = array<i64: 1, 1, 1>, operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0>} : (tensor<?xf32>) -> tensor<4xf32>
  return
}

// -----

func.func @f(%x: tensor<4xf32>) {
  // expected-error @+1 {{expected static shapes, found tensor<?xf32>}}
  %0 = "sparsity.dispatch"(%x) {kernel = @k, grid = array<i64: 1, 1, 1>, operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0>} : (tensor<4xf32>) -> tensor<?xf32>
  return
}

// -----

// Which operands results take the storage of: a number for every result,
func.func @f(%x: tensor<4xf32>, %y: tensor<4xf32>) {
  // expected-error @+1 {{'sparsity.dispatch' op expected 'tied_operands' to be an array<i64: ...> of a number for each of 2 results, found array<i64: 0>}}
  %0:2 = "sparsity.dispatch"(%x, %y) {kernel = @k, grid = array<i64: 1, 1, 1>, tied_operands = array<i64: 0>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @f(%x: tensor<4xf32>, %y: tensor<4xf32>) {
  // expected-error @+1 {{expected 'tied_operands' to be an array<i64: ...> of a number for each of 2 results, found [0, 1]}}
  %0:2 = "sparsity.dispatch"(%x, %y) {kernel = @k, grid = array<i64: 1, 1, 1>, tied_operands = [0, 1], operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

// which is that of an operand,
func.func @f(%x: tensor<4xf32>, %y: tensor<4xf32>) {
  // expected-error @+1 {{expected 'tied_operands' to be an array<i64: ...> of operands, 0 to 1, or -1 for none, found 2}}
  %0:2 = "sparsity.dispatch"(%x, %y) {kernel = @k, grid = array<i64: 1, 1, 1>, tied_operands = array<i64: -1, 2>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @f(%x: tensor<4xf32>, %y: tensor<4xf32>) {
  // expected-error @+1 {{expected 'tied_operands' to be an array<i64: ...> of operands, 0 to 1, or -1 for none, found -2}}
  %0:2 = "sparsity.dispatch"(%x, %y) {kernel = @k, grid = array<i64: 1, 1, 1>, tied_operands = array<i64: -2, 0>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

// of none twice,
func.func @f(%x: tensor<4xf32>, %y: tensor<4xf32>) {
  // expected-error @+1 {{expected one result at most in operand 1, found [1, 1]}}
  %0:2 = "sparsity.dispatch"(%x, %y) {kernel = @k, grid = array<i64: 1, 1, 1>, tied_operands = array<i64: 1, 1>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

// of one with its type.
func.func @f(%x: tensor<4xf32>, %y: tensor<4xf32>) {
  // expected-error @+1 {{expected result 1 to have the type of operand 0, tensor<4xf32>, found tensor<4xi32>}}
  %0:2 = "sparsity.dispatch"(%x, %y) {kernel = @k, grid = array<i64: 1, 1, 1>, tied_operands = array<i64: -1, 0>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xi32>)
  return
}

// -----

func.func @f(%x: tensor<4xf32>, %y: tensor<4xf32>) {
  // expected-error @+1 {{has the unknown attribute 'tied_operand'; accepted: kernel, grid, tied_operands, operandSegmentSizes, resultSegmentSizes; did you mean 'tied_operands'?}}
  %0:2 = "sparsity.dispatch"(%x, %y) {kernel = @k, grid = array<i64: 1, 1, 1>, tied_operand = array<i64: -1, 0>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

// Sizes say which operands and results there are.
func.func @f(%x: tensor<4xf32>, %y: tensor<4xf32>) {
  // expected-error @+1 {{expected 'resultSegmentSizes' to be array<i32: ...> of 8 sizes with the sum 2, 1 where a result is given and 0 where an optional one is not, found array<i32: 1, 0, 0, 0, 0, 0, 0, 0>}}
  %0:2 = "sparsity.dispatch"(%x, %y) {kernel = @k, grid = array<i64: 1, 1, 1>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0, 0, 0, 0, 0, 0>} : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @f(%x: tensor<4xf32>, %y: tensor<4xf32>) {
  // expected-error @+1 {{expected 'operandSegmentSizes' to be array<i32: ...> of 24 sizes with the sum 2, 1 where an operand is given and 0 where an optional one is not, found array<i32: 1, 1>}}
  %0:2 = "sparsity.dispatch"(%x, %y) {kernel = @k, grid = array<i64: 1, 1, 1>, operandSegmentSizes = array<i32: 1, 1>, resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>} : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

// There are 8 results at most.
func.func @f(%x: tensor<4xf32>, %y: tensor<4xf32>) {
  // expected-error @+1 {{expected 'resultSegmentSizes' to be array<i32: ...> of 8 sizes with the sum 9}}
  %0:9 = "sparsity.dispatch"(%x, %y) {kernel = @k, grid = array<i64: 1, 1, 1>, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1>} : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)
  return
}
