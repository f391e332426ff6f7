// RUN: sparsity-opt %s --split-input-file --convert-sparsity-to-gpu-kernels | FileCheck %s
// RUN: sparsity-opt %s --split-input-file --scheduled-to-gpu-kernels --check-semantics --check-tolerance=0.001 -o /dev/null

// Activations of f16 become f32 where they are loaded. A result is rounded where it is stored: what f16 cannot hold is
// no number there, and never infinite.
// CHECK-LABEL: func.func private @gpu_linear_8x8_residual(
// CHECK-SAME: %[[X:[a-z0-9]+]]: memref<1x1x8x16xf16>
// CHECK-SAME: %[[R:[a-z0-9]+]]: memref<1x1x8x16xf32>, %[[Y:[a-z0-9]+]]: memref<1x1x8x16xf16>
// CHECK: vector.load %[[X]]{{.*}} : memref<1x1x8x16xf16>, vector<4xf16>
// CHECK-NEXT: arith.extf {{.*}} : vector<4xf16> to vector<4xf32>
// CHECK: vector.fma {{.*}} : vector<4xf32>
// CHECK: vector.load %[[R]]{{.*}} vector<4xf32>
// CHECK-NEXT: %[[SUM:.*]] = arith.addf
// CHECK-NEXT: %[[SIZE:.*]] = math.absf %[[SUM]]
// CHECK-NEXT: %[[MOST:.*]] = arith.constant dense<6.550400e+04>
// CHECK-NEXT: %[[FITS:.*]] = arith.cmpf ole, %[[SIZE]], %[[MOST]]
// CHECK-NEXT: %[[NONE:.*]] = arith.constant dense<0x7FC00000>
// CHECK-NEXT: %[[KEPT:.*]] = arith.select %[[FITS]], %[[SUM]], %[[NONE]]
// CHECK-NEXT: %[[HALF:.*]] = arith.truncf %[[KEPT]] : vector<4xf32> to vector<4xf16>
// CHECK-NEXT: vector.store %[[HALF]], %[[Y]]
func.func @layer(%x: tensor<1x1x8x16xf16>, %r: tensor<1x1x8x16xf32>) -> tensor<1x1x8x16xf16> {
  %v = "sparsity.weight"() {source = dense<[0.5, 1.0, 2.0, 4.0, -0.5, -1.0, -2.0, -4.0]> : tensor<8xf32>} : () -> tensor<8xf32>
  %c = "sparsity.weight"() {source = dense<[3, 6]> : tensor<2xi32>} : () -> tensor<2xi32>
  %s = "sparsity.weight"() {source = dense<[[[0, 1]], [[1, 2]]]> : tensor<2x1x2xi32>} : () -> tensor<2x1x2xi32>
  %o = "sparsity.weight"() {source = dense<[0, 4]> : tensor<2xi32>} : () -> tensor<2xi32>
  %rows = "sparsity.weight"() {source = dense<[[0, 1, 2, 3], [4, 5, 6, 7]]> : tensor<2x4xi32>} : () -> tensor<2x4xi32>
  %w = "sparsity.weight"() {source = dense<[0, 2]> : tensor<2xi32>} : () -> tensor<2xi32>
  %y = "sparsity.packed_linear"(%x, %v, %c, %s, %o, %rows, %w, %r) {layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, row_tile = 4 : i64, row_masks = [15], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 1, 0>} : (tensor<1x1x8x16xf16>, tensor<8xf32>, tensor<2xi32>, tensor<2x1x2xi32>, tensor<2xi32>, tensor<2x4xi32>, tensor<2xi32>, tensor<1x1x8x16xf32>) -> tensor<1x1x8x16xf16>
  return %y : tensor<1x1x8x16xf16>
}

// -----

// Scores, exponentials and their sums are f32, in the workgroup's memory too; so are the sums of a norm.
// CHECK-LABEL: func.func private @gpu_layer_norm_8_residual(
// CHECK-SAME: memref<1x1x8x16xf16>{{.*}} memref<1x1x8x16xf32>, %[[Y:[a-z0-9]+]]: memref<1x1x8x16xf32>
// CHECK: memref.alloc() : memref<{{.*}}xvector<4xf32>, #gpu.address_space<workgroup>>
// CHECK-NOT: arith.truncf
// CHECK: vector.store {{.*}} %[[Y]]
// CHECK-LABEL: func.func private @gpu_attention_2x4(
// CHECK-SAME: memref<1x1x8x16xf16>
// CHECK-COUNT-3: memref.alloc() : memref<{{.*}}xvector<4xf32>, #gpu.address_space<workgroup>>
// CHECK: vector.load {{.*}} vector<4xf16>
// CHECK: math.exp {{.*}} : vector<4xf32>
// CHECK: arith.truncf
// CHECK-NEXT: vector.store
func.func @others(%x: tensor<1x1x8x16xf16>, %r: tensor<1x1x8x16xf32>, %w: tensor<8xf32>) -> (tensor<1x1x8x16xf16>, tensor<1x1x8x16xf32>) {
  %a = "sparsity.attention"(%x, %x, %x) {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.5 : f64, causal = true, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<1x1x8x16xf16>, tensor<1x1x8x16xf16>, tensor<1x1x8x16xf16>) -> tensor<1x1x8x16xf16>
  %n = "sparsity.layer_norm"(%a, %w, %w, %r) {epsilon = 1.0e-3 : f64, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 1>} : (tensor<1x1x8x16xf16>, tensor<8xf32>, tensor<8xf32>, tensor<1x1x8x16xf32>) -> tensor<1x1x8x16xf32>
  return %a, %n : tensor<1x1x8x16xf16>, tensor<1x1x8x16xf32>
}
