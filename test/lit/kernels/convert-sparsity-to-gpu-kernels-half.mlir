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

// -----

// Products in f16: two of them are summed in f16, then added to a sum in f32. The last run may be shorter. A sum that
// was infinite is no number before the activation, which could make a number of it.
// CHECK-LABEL: func.func private @gpu_linear_4x8_tanh(
// CHECK-SAME: %[[X:[a-z0-9]+]]: memref<1x1x8x16xf16>, %[[V:[a-z0-9]+]]: memref<?xf16>
// CHECK: scf.for %[[BEGIN:.*]] = %{{.*}} to %[[STOP:.*]] step %{{.*}} iter_args(
// CHECK: %[[END:.*]] = arith.minui %[[STOP]]
// CHECK: %[[PART:.*]]:5 = scf.for %{{.*}} = %[[BEGIN]] to %[[END]]
// CHECK: vector.load %[[X]]{{.*}} vector<4xf16>
// CHECK-NEXT: vector.load %[[V]]{{.*}} vector<4xf16>
// CHECK-NOT: arith.extf
// CHECK-COUNT-4: vector.fma {{.*}} : vector<4xf16>
// CHECK: scf.yield
// CHECK: arith.extf %[[PART]]#0 : vector<4xf16> to vector<4xf32>
// CHECK-NEXT: arith.addf {{.*}} : vector<4xf32>
// CHECK: math.absf
// CHECK: arith.cmpf ole
// CHECK: arith.select
// CHECK: math.tanh {{.*}} : vector<4xf32>
func.func @runs(%x: tensor<1x1x8x16xf16>) -> tensor<1x1x4x16xf16> {
  %v = "sparsity.weight"() {source = dense<[0.5, 1.0, 2.0, 4.0, -0.5, -1.0, -2.0, -4.0, 0.25, 0.5, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]> : tensor<28xf16>} : () -> tensor<28xf16>
  %c = "sparsity.weight"() {source = dense<[1, 3, 6]> : tensor<3xi32>} : () -> tensor<3xi32>
  %s = "sparsity.weight"() {source = dense<[[[0, 3]]]> : tensor<1x1x2xi32>} : () -> tensor<1x1x2xi32>
  %o = "sparsity.weight"() {source = dense<[0]> : tensor<1xi32>} : () -> tensor<1xi32>
  %rows = "sparsity.weight"() {source = dense<[[0, 1, 2, 3]]> : tensor<1x4xi32>} : () -> tensor<1x4xi32>
  %w = "sparsity.weight"() {source = dense<[0, 1]> : tensor<2xi32>} : () -> tensor<2xi32>
  %y = "sparsity.packed_linear"(%x, %v, %c, %s, %o, %rows, %w) {activation = "tanh", sparsity.half_sums = 2 : i64, layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, row_tile = 4 : i64, row_masks = [15], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<1x1x8x16xf16>, tensor<28xf16>, tensor<3xi32>, tensor<1x1x2xi32>, tensor<1xi32>, tensor<1x4xi32>, tensor<2xi32>) -> tensor<1x1x4x16xf16>
  return %y : tensor<1x1x4x16xf16>
}
