// RUN: echo '{"a.query": "int8 x int8", "a.key": "int8 x int8", "a.self": "int8 x int8", "b": "f32"}' > %t.json
// RUN: sparsity-opt %s --sparsity-number-format="weights=f16 layers=%t.json" | FileCheck %s
// RUN: echo '{"a.query": "int8", "a.key": "f16"}' > %t.two.json
// RUN: not sparsity-opt %s --sparsity-number-format="layers=%t.two.json" 2>&1 | FileCheck %s --check-prefix=TWO
// RUN: echo '["a"]' > %t.list.json
// RUN: not sparsity-opt %s --sparsity-number-format="layers=%t.list.json" 2>&1 | FileCheck %s --check-prefix=LIST

// Formats by the modules that an op is, of which some (an activation) are not named. Others get that of the model.
// TWO: 'a.query' is one layer with a.key, and they are to have one format, found int8 x f32 and f16 x f32
// LIST: is to be an object of JSON: a format such as 'int8 x int8' for each pattern
func.func @main(%x: tensor<1x8xf32>) -> (tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>) {
  %w = "sparsity.weight"() {source = dense<1.0> : tensor<4x8xf32>, sparsity.encoding = #sparsity.dense<{}>} : () -> tensor<4x8xf32>
  // CHECK: "sparsity.linear"{{.*}}sparsity.numbers = #sparsity.numbers<{arithmetic = "int8", weights = "int8"}>
  // CHECK: "sparsity.linear"
  // CHECK-NOT: sparsity.numbers
  // CHECK-SAME: tensor<1x4xf32>
  // CHECK: "sparsity.linear"{{.*}}sparsity.numbers = #sparsity.numbers<{arithmetic = "f32", weights = "f16"}>
  %y = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x8xf32>, tensor<4x8xf32>) -> tensor<1x4xf32> loc(fused["a.query", "a.key", "a.activation"])
  %z = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x8xf32>, tensor<4x8xf32>) -> tensor<1x4xf32> loc("b")
  %u = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x8xf32>, tensor<4x8xf32>) -> tensor<1x4xf32> loc("c")
  return %y, %z, %u : tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>
}
