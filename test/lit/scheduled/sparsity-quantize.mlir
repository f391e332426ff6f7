// RUN: sparsity-opt %s --split-input-file --sparsity-number-format="weights=int8" --sparsity-quantize | FileCheck %s --check-prefixes=CHECK,INT8
// RUN: sparsity-opt %s --split-input-file --sparsity-number-format="weights=f16" --sparsity-quantize | FileCheck %s --check-prefixes=CHECK,F16
// RUN: sparsity-opt %s --split-input-file --sparsity-quantize | FileCheck %s --check-prefixes=CHECK,F32
// RUN: sparsity-opt %s --split-input-file --sparsity-number-format="weights=int8" --sparsity-quantize --sparsity-number-format="weights=int8" --sparsity-quantize | FileCheck %s --check-prefixes=CHECK,INT8
// RUN: sparsity-opt %s --split-input-file --sparsity-number-format="weights=int8" --sparsity-quantize --statistics=json -o /dev/null 2>&1 | FileCheck %s --check-prefix=STATS

// Two tiles of two rows; the rows of the first share both columns, of the second each has one. The largest weights of
// output rows 0 to 3 are 2, 0, 127 and 4. Each row fills the range of int8, a row of zeros gets the scale zero, and
// the small 0.25 of row 2 becomes a zero that stays in its place.
// STATS: "layers": 1
// STATS-NEXT: "values": 6
// STATS-NEXT: "bytes-before": 24
// STATS-NEXT: "bytes-after": 38
// STATS-NEXT: "largest-error-ppm": 3937
// CHECK-LABEL: func.func @tiles
func.func @tiles(%x: tensor<5x8xf32>, %b: tensor<4xf32>) -> tensor<5x4xf32> {
  %v = "sparsity.weight"() {source = dense<[127.0, 1.0, 0.25, 2.0, 0.0, -4.0]> : tensor<6xf32>} : () -> tensor<6xf32>
  %c = "sparsity.weight"() {source = dense<[1, 6, 3, 0]> : tensor<4xi32>} : () -> tensor<4xi32>
  %s = "sparsity.weight"() {source = dense<[[[0, 0], [0, 0], [0, 2]], [[2, 3], [3, 4], [4, 4]]]> : tensor<2x3x2xi32>} : () -> tensor<2x3x2xi32>
  %o = "sparsity.weight"() {source = dense<[0, 4]> : tensor<2xi32>} : () -> tensor<2xi32>
  %r = "sparsity.weight"() {source = dense<[[2, 0], [1, 3]]> : tensor<2x2xi32>} : () -> tensor<2x2xi32>
  %w = "sparsity.weight"() {source = dense<[0, 2]> : tensor<2xi32>} : () -> tensor<2xi32>
  // 16 elements that no tile uses stand at the end.
  // INT8-DAG: %[[VALUES:.*]] = "sparsity.weight"() {source = dense<[127, 64, 0, 127, 0, -127, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]> : tensor<22xi8>}
  // INT8-DAG: %[[SCALES:.*]] = "sparsity.weight"() {source = dense<[0.0157480314, 0.000000e+00, 1.000000e+00, 0.0314960629]> : tensor<4xf32>}
  // INT8: "sparsity.packed_linear"(%{{.*}}, %[[VALUES]], %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %[[SCALES]]) {activation = "relu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 0, 1>
  // F16: %[[VALUES:.*]] = "sparsity.weight"() {source = dense<[1.270000e+02, 1.000000e+00, 2.500000e-01, 2.000000e+00, 0.000000e+00, -4.000000e+00, 0.000000e+00, {{.*}}]> : tensor<22xf16>}
  // F16: "sparsity.packed_linear"(%{{.*}}, %[[VALUES]], {{.*}}) {activation = "relu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 0, 0>
  // F32: tensor<6xf32>
  // F32-NOT: xf16
  // F32-NOT: xi8
  %y = "sparsity.packed_linear"(%x, %v, %c, %s, %o, %r, %w, %b) {activation = "relu", row_tile = 2 : i64, row_masks = [1, 2, 3], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 0, 0>} : (tensor<5x8xf32>, tensor<6xf32>, tensor<4xi32>, tensor<2x3x2xi32>, tensor<2xi32>, tensor<2x2xi32>, tensor<2xi32>, tensor<4xf32>) -> tensor<5x4xf32>
  return %y : tensor<5x4xf32>
}

// -----

// Slices hold a value per row at each step, and a scale per row; nothing has to follow them.
// CHECK-LABEL: func.func @slices
func.func @slices(%x: tensor<1x6xf32>, %h: tensor<1x3xf32>) -> tensor<1x3xf32> {
  %v = "sparsity.weight"() {source = dense<[[1.0, 2.0], [0.5, 0.0], [8.0, 8.0]]> : tensor<3x2xf32>} : () -> tensor<3x2xf32>
  %c = "sparsity.weight"() {source = dense<[[0], [4], [5]]> : tensor<3x1xi16>} : () -> tensor<3x1xi16>
  %o = "sparsity.weight"() {source = dense<[0, 2, 3]> : tensor<3xi32>} : () -> tensor<3xi32>
  %r = "sparsity.weight"() {source = dense<[[0, 1], [2, 2]]> : tensor<2x2xi32>} : () -> tensor<2x2xi32>
  %w = "sparsity.weight"() {source = dense<[0, 2]> : tensor<2xi32>} : () -> tensor<2xi32>
  // INT8-DAG: %[[VALUES:.*]] = "sparsity.weight"() {source = dense<{{\[\[}}127, 127], [64, 0], [127, 127]]> : tensor<3x2xi8>}
  // INT8-DAG: %[[SCALES:.*]] = "sparsity.weight"() {source = dense<{{\[\[}}0.00787401571, 0.0157480314], [0.0629921257, 0.0629921257]]> : tensor<2x2xf32>}
  // INT8: "sparsity.sliced_linear"(%{{.*}}, %[[VALUES]], %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %[[SCALES]]) {{.*}}array<i32: 1, 1, 1, 1, 1, 1, 0, 1, 1, 0, 0>
  // F16: "sparsity.sliced_linear"({{.*}}tensor<3x2xf16>
  // F32: "sparsity.sliced_linear"({{.*}}tensor<3x2xf32>
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w, %h) {vector_rows = 2 : i64, consecutive = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0>} : (tensor<1x6xf32>, tensor<3x2xf32>, tensor<3x1xi16>, tensor<3xi32>, tensor<2x2xi32>, tensor<2xi32>, tensor<1x3xf32>) -> tensor<1x3xf32>
  return %y : tensor<1x3xf32>
}

// -----

// Tables too, but not those that are no constants.
// CHECK-LABEL: func.func @tables
func.func @tables(%ids: tensor<1x6xi64>, %t: tensor<3x2xf32>) -> (tensor<1x6x2xf32>, tensor<1x6x2xf32>) {
  %table = "sparsity.weight"() {source = dense<[[1.0, -2.0], [0.0, 0.0], [254.0, 3.0]]> : tensor<3x2xf32>} : () -> tensor<3x2xf32>
  // INT8-DAG: %[[TABLE:.*]] = "sparsity.weight"() {source = dense<{{\[\[}}64, -127], [0, 0], [127, 2]]> : tensor<3x2xi8>}
  // INT8-DAG: %[[SCALES:.*]] = "sparsity.weight"() {source = dense<[0.0157480314, 0.000000e+00, 2.000000e+00]> : tensor<3xf32>}
  // INT8: "sparsity.embedding"(%{{.*}}, %[[TABLE]], %[[SCALES]]) {operandSegmentSizes = array<i32: 1, 1, 1>}
  // F16: "sparsity.embedding"({{.*}} : (tensor<1x6xi64>, tensor<3x2xf16>) -> tensor<1x6x2xf32>
  // F32: "sparsity.embedding"({{.*}} : (tensor<1x6xi64>, tensor<3x2xf32>) -> tensor<1x6x2xf32>
  // CHECK: "sparsity.embedding"(%{{.*}}, %arg1) {{.*}} : (tensor<1x6xi64>, tensor<3x2xf32>) -> tensor<1x6x2xf32>
  %x = "sparsity.embedding"(%ids, %table) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x6xi64>, tensor<3x2xf32>) -> tensor<1x6x2xf32>
  %y = "sparsity.embedding"(%ids, %t) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x6xi64>, tensor<3x2xf32>) -> tensor<1x6x2xf32>
  return %x, %y : tensor<1x6x2xf32>, tensor<1x6x2xf32>
}
