// Attention on bytes as two kernels. Rounding keys and values needs its own panel only, so it joins a chain; attention
// reads all panels, so it begins the next one.
// DEFINE: %{scheduled} = --sparsity-number-format="weights=int8 arithmetic=int8" --sparsity-layout=panel=16 --sparsity-quantize-attention
// RUN: sparsity-opt %s --split-input-file %{scheduled} --convert-sparsity-to-kernels --sparsity-chain | FileCheck %s
// RUN: sparsity-opt %s --split-input-file %{scheduled} --convert-sparsity-to-kernels --sparsity-chain --convert-sparsity-to-linalg --check-semantics --check-tolerance=0.05 -o /dev/null
// RUN: sparsity-opt %s --split-input-file %{scheduled} --convert-sparsity-to-linalg --check-semantics --check-tolerance=0.05 | FileCheck %s --check-prefix=LINALG
// LINALG-NOT: "sparsity.

// The bytes of a key are unsigned and the first factor, shared by all lanes; so are the weights, a query in each lane.
// CHECK: func.func private @attention_2x8_bytes(%{{.*}}: memref<1x2x32x16xf32>, %[[BYTES:.*]]: memref<1x2x2x384xi8>, %{{.*}}: memref<1x32xf32>, %{{.*}}: memref<1x2x16x16xf32>
// CHECK: vector.load %[[BYTES]]{{.*}} : memref<1x2x2x384xi8>, vector<4xi8>
// CHECK: vector.broadcast
// CHECK: llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"
// CHECK-LABEL: func.func @main
// CHECK: kernel = @gelu_32
// CHECK-SAME: sparsity.chain = 0
// CHECK: kernel = @quantize_heads_2x8
// CHECK-SAME: sparsity.chain = 0
// CHECK: kernel = @attention_2x8_bytes
// CHECK-SAME: sparsity.chain = 1
// CHECK: kernel = @gelu_16
// CHECK-SAME: sparsity.chain = 1
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 64 : i64, registers = 32 : i64, workers = 2 : i64, dot = "vpdpbusd"}>} {
func.func @main(%x: tensor<1x32x32xf32>, %m: tensor<1x32xf32>) -> tensor<1x32x16xf32> {
  %a = "sparsity.activation"(%x) {kind = "gelu"} : (tensor<1x32x32xf32>) -> tensor<1x32x32xf32>
  %y = "sparsity.attention"(%a, %a, %a, %m) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.35 : f64, causal = false, offsets = [0, 8, 16], depth = 8 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<1x32x32xf32>, tensor<1x32x32xf32>, tensor<1x32x32xf32>, tensor<1x32xf32>) -> tensor<1x32x16xf32>
  %z = "sparsity.activation"(%y) {kind = "gelu"} : (tensor<1x32x16xf32>) -> tensor<1x32x16xf32>
  return %z : tensor<1x32x16xf32>
}
}

// -----

// By lane, a load brings the same four features of four keys, and what all lanes share is the second factor.
// CHECK: func.func private @attention_1x8_bytes
// CHECK: vector<16xi8>
// CHECK: llvm.call_intrinsic "llvm.aarch64.neon.sdot.v4i32.v16i8"
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 16 : i64, registers = 32 : i64, dot = "sdot"}>} {
func.func @main(%x: tensor<1x32x8xf32>) -> tensor<1x32x8xf32> {
  %y = "sparsity.attention"(%x, %x, %x) {heads = 1 : i64, kv_heads = 1 : i64, scale = 0.35 : f64, causal = true, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x32x8xf32>, tensor<1x32x8xf32>, tensor<1x32x8xf32>) -> tensor<1x32x8xf32>
  return %y : tensor<1x32x8xf32>
}
}
