// DEFINE: %{scheduled} = --sparsity-number-format="weights=f16 arithmetic=f16" --sparsity-schedule --sparsity-pack --sparsity-layout --sparsity-eliminate-loads
// RUN: sparsity-opt %s --split-input-file %{scheduled} --sparsity-half-activations | FileCheck %s
// RUN: sparsity-opt %s --split-input-file %{scheduled} --sparsity-half-activations --sparsity-half-activations | FileCheck %s
// RUN: sparsity-opt %s --split-input-file %{scheduled} --sparsity-half-activations --sparsity-quantize --scheduled-to-gpu-kernels --check-semantics --check-tolerance=0.002 -o /dev/null
// RUN: sparsity-opt %s --split-input-file %{scheduled} --sparsity-half-activations --sparsity-quantize --scheduled-to-linalg --check-semantics --check-tolerance=0.002 -o /dev/null
// RUN: sparsity-opt %s --split-input-file %{scheduled} --sparsity-half-activations --statistics=json -o /dev/null 2>&1 | FileCheck %s --check-prefix=STATS
// RUN: sparsity-opt %s --split-input-file --sparsity-schedule --sparsity-pack --sparsity-layout --sparsity-half-activations | FileCheck %s --check-prefix=F32

// All that a layer reads or makes is f16. What the last norm makes is read by none.
// STATS: "tensors": 6
// STATS-NEXT: "bytes-saved": 6144
// STATS-NEXT: "left-in-f32": 1
// F32-NOT: xf16
// CHECK-LABEL: func.func @block
// CHECK: %[[X:.*]] = "sparsity.to_panels"({{.*}} : (tensor<1x20x16xf32>) -> tensor<1x1x16x32xf16>
// CHECK: %[[Q:.*]] = "sparsity.packed_linear"(%[[X]], {{.*}} : (tensor<1x1x16x32xf16>, {{.*}}) -> tensor<1x1x16x32xf16>
// CHECK: %[[A:.*]] = "sparsity.attention"(%[[Q]], %[[Q]], %[[Q]], {{.*}}-> tensor<1x1x16x32xf16>
// CHECK: %[[H:.*]] = "sparsity.packed_linear"(%[[A]], {{.*}} %[[X]]) {{.*}}-> tensor<1x1x16x32xf16>
// CHECK: %[[N:.*]] = "sparsity.layer_norm"(%[[H]], {{.*}} : (tensor<1x1x16x32xf16>, {{.*}}) -> tensor<1x1x16x32xf16>
// CHECK: %[[F:.*]] = "sparsity.packed_linear"(%[[N]], {{.*}} -> tensor<1x1x16x32xf16>
// CHECK: %[[L:.*]] = "sparsity.layer_norm"(%[[F]], {{.*}} %[[N]]) {{.*}} : (tensor<1x1x16x32xf16>, {{.*}}, tensor<1x1x16x32xf16>) -> tensor<1x1x16x32xf32>
// CHECK: "sparsity.from_panels"(%[[L]]) {{.*}} : (tensor<1x1x16x32xf32>) -> tensor<1x20x16xf32>
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 16 : i64, registers = 16 : i64, threads = 64 : i64}>} {
func.func @block(%x: tensor<1x20x16xf32>, %m: tensor<1x20xf32>) -> tensor<1x20x16xf32> {
  %w = "sparsity.weight"() {source = dense<0.25> : tensor<16x16xf32>} : () -> tensor<16x16xf32>
  %b = "sparsity.weight"() {source = dense<0.5> : tensor<16xf32>} : () -> tensor<16xf32>
  %q = "sparsity.linear"(%x, %w, %b) {operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x20x16xf32>, tensor<16x16xf32>, tensor<16xf32>) -> tensor<1x20x16xf32>
  %a = "sparsity.attention"(%q, %q, %q, %m) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.35 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<1x20x16xf32>, tensor<1x20x16xf32>, tensor<1x20x16xf32>, tensor<1x20xf32>) -> tensor<1x20x16xf32>
  %h = "sparsity.linear"(%a, %w, %x) {operandSegmentSizes = array<i32: 1, 1, 0, 1>} : (tensor<1x20x16xf32>, tensor<16x16xf32>, tensor<1x20x16xf32>) -> tensor<1x20x16xf32>
  %n = "sparsity.layer_norm"(%h, %b, %b) {epsilon = 1.0e-3 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x20x16xf32>, tensor<16xf32>, tensor<16xf32>) -> tensor<1x20x16xf32>
  %f = "sparsity.linear"(%n, %w) {activation = "relu", operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x20x16xf32>, tensor<16x16xf32>) -> tensor<1x20x16xf32>
  %l = "sparsity.layer_norm"(%f, %b, %b, %n) {epsilon = 1.0e-3 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1>} : (tensor<1x20x16xf32>, tensor<16xf32>, tensor<16xf32>, tensor<1x20x16xf32>) -> tensor<1x20x16xf32>
  return %l : tensor<1x20x16xf32>
}
}

// -----

// A tensor stays f32 where a layer in f32 reads it, and where an op does that computes in the type that it finds.
// CHECK-LABEL: func.func @kept
// CHECK: %[[X:.*]] = "sparsity.to_panels"({{.*}} -> tensor<1x1x16x32xf32>
// CHECK: %[[H:.*]] = "sparsity.packed_linear"(%[[X]], {{.*}} -> tensor<1x1x16x32xf16>
// CHECK: %[[Y:.*]] = "sparsity.packed_linear"(%[[X]], {{.*}} -> tensor<1x1x16x32xf32>
// CHECK: %[[Z:.*]] = "sparsity.packed_linear"(%[[H]], {{.*}} -> tensor<1x1x16x32xf32>
// CHECK: "sparsity.add"(%[[Y]], %[[Z]])
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 16 : i64, registers = 16 : i64, threads = 64 : i64}>} {
func.func @kept(%x: tensor<1x20x16xf32>) -> tensor<1x20x16xf32> {
  %w = "sparsity.weight"() {source = dense<0.25> : tensor<16x16xf32>} : () -> tensor<16x16xf32>
  %h = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x20x16xf32>, tensor<16x16xf32>) -> tensor<1x20x16xf32>
  %y = "sparsity.linear"(%x, %w) {sparsity.numbers = #sparsity.numbers<{weights = "f16", arithmetic = "f32"}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x20x16xf32>, tensor<16x16xf32>) -> tensor<1x20x16xf32>
  %z = "sparsity.linear"(%h, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x20x16xf32>, tensor<16x16xf32>) -> tensor<1x20x16xf32>
  %s = "sparsity.add"(%y, %z) : (tensor<1x20x16xf32>, tensor<1x20x16xf32>) -> tensor<1x20x16xf32>
  return %s : tensor<1x20x16xf32>
}
}
