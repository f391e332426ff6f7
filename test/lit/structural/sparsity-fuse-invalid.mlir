// RUN: not sparsity-opt %s --sparsity-fuse=plan=residual=merged 2>&1 | FileCheck %s --check-prefix=VARIANT
// RUN: not sparsity-opt %s --sparsity-fuse=plan=residuals=separate 2>&1 | FileCheck %s --check-prefix=KIND
// RUN: not sparsity-opt %s --sparsity-fuse=plan=separate 2>&1 | FileCheck %s --check-prefix=FORM
// RUN: not sparsity-opt %s --sparsity-fuse=plan=%t.missing.json 2>&1 | FileCheck %s --check-prefix=FILE
// RUN: not sparsity-opt %s --sparsity-fuse=plan=residual:add=into-linear 2>&1 | FileCheck %s --check-prefix=SITE

// A plan that cannot be followed is refused with what is accepted; one named for a single site has to be legal there.

// VARIANT: 'residual' has no fusion variant 'merged'; accepted: into-linear, into-layer-norm, separate
// KIND: unknown kind of fusion site 'residuals'; accepted: layer-norm-affine, attention-scale, qkv, activation, residual
// FORM: expected a plan of kind=variant,... or a file named *.json, found 'separate'
// FILE: the fusion plan '{{.*}}missing.json' cannot be read: No such file or directory
// SITE: [[@LINE+2]]:8: error: 'sparsity.add' op cannot be fused as 'into-linear': an argument has no kernel with an epilogue
func.func @f(%x: tensor<2x4xf32>, %y: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %s = "sparsity.add"(%x, %y) : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  return %s : tensor<2x4xf32>
}
