// RUN: sparsity-opt %s --sparsity-number-format="weights=f16 arithmetic=f16" | FileCheck %s
// RUN: sparsity-opt %s --sparsity-number-format | FileCheck %s --check-prefix=PLAIN
// RUN: sparsity-opt %s --sparsity-number-format="weights=f16 arithmetic=f16" --statistics=json -o /dev/null 2>&1 | FileCheck %s --check-prefix=STATS
// RUN: sparsity-opt %s --sparsity-number-format="weights=int8" --scheduled | FileCheck %s --check-prefix=PACKED
// RUN: sparsity-opt %s --sparsity-number-format="weights=int8" --sparsity-schedule="row-vectors=1" --sparsity-pack-rows | FileCheck %s --check-prefix=ROWS

// Layers and tables without a format get the one that is given; a table has no arithmetic. A format that stands on an
// op stays. Where everything stays f32 there is nothing to note.
// STATS: "layers-in-f16": 1
// STATS: "tables-in-f16": 1
// PLAIN-COUNT-1: sparsity.numbers =
// PLAIN-NOT: sparsity.numbers =
func.func @main(%x: tensor<1x8xf32>, %ids: tensor<1x6xi64>) -> (tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x6x2xf32>) {
  %w = "sparsity.weight"() {source = dense<1.0> : tensor<4x8xf32>, sparsity.encoding = #sparsity.dense<{}>} : () -> tensor<4x8xf32>
  %table = "sparsity.weight"() {source = dense<2.0> : tensor<3x2xf32>} : () -> tensor<3x2xf32>
  // CHECK: "sparsity.linear"{{.*}}sparsity.numbers = #sparsity.numbers<{arithmetic = "f16", weights = "f16"}>
  // CHECK: "sparsity.linear"{{.*}}sparsity.numbers = #sparsity.numbers<{arithmetic = "f32", weights = "int8"}>
  // CHECK: "sparsity.embedding"{{.*}}sparsity.numbers = #sparsity.numbers<{arithmetic = "f32", weights = "f16"}>
  // The format follows its op through packing, and is gone when it was carried out.
  // ROWS-COUNT-2: "sparsity.sliced_linear"{{.*}}sparsity.numbers = #sparsity.numbers<{arithmetic = "f32", weights = "int8"}>
  // PACKED-NOT: sparsity.numbers
  // PACKED: xi8>
  %y = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x8xf32>, tensor<4x8xf32>) -> tensor<1x4xf32>
  %z = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>, sparsity.numbers = #sparsity.numbers<{weights = "int8", arithmetic = "f32"}>} : (tensor<1x8xf32>, tensor<4x8xf32>) -> tensor<1x4xf32>
  %e = "sparsity.embedding"(%ids, %table) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x6xi64>, tensor<3x2xf32>) -> tensor<1x6x2xf32>
  return %y, %z, %e : tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x6x2xf32>
}
