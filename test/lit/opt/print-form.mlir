// How the module is printed.
// RUN: sparsity-opt %s --mlir-print-op-generic | FileCheck %s --check-prefix=GENERIC
// RUN: sparsity-opt %s --mlir-elide-elementsattrs-if-larger=2 | FileCheck %s --check-prefix=ELIDE
// RUN: sparsity-opt %s --mlir-print-debuginfo | FileCheck %s --check-prefix=DEBUG
// RUN: sparsity-opt %s -o %t.mlir | FileCheck %s --check-prefix=NOTHING --allow-empty
// RUN: sparsity-opt %t.mlir | FileCheck %s --check-prefix=FILE

// GENERIC: "func.func"() <{
// GENERIC: "arith.constant"
// ELIDE: dense_resource<__elided__>
// DEBUG: loc("{{.*}}print-form.mlir":[[#@LINE+4]]:8)
// NOTHING-NOT: {{.}}
// FILE: arith.constant dense<[1, 2, 3]>
func.func @f() -> tensor<3xi32> {
  %0 = arith.constant dense<[1, 2, 3]> : tensor<3xi32>
  return %0 : tensor<3xi32>
}
