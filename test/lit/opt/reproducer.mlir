// The input of a pipeline that failed is kept with the pipeline, and fails the same way again; a good run leaves nothing.
// RUN: rm -f %t.mlir %t.good.mlir
// RUN: not sparsity-opt %s --cse --load-pass=count_ops:CountOps --count-ops=limit=1 --mlir-pass-pipeline-crash-reproducer=%t.mlir 2>&1 | FileCheck %s --check-prefix=SAYS
// RUN: FileCheck %s --check-prefix=KEPT < %t.mlir
// RUN: not sparsity-opt --run-reproducer %t.mlir 2>&1 | FileCheck %s --check-prefix=AGAIN
// RUN: sparsity-opt %s --cse --mlir-pass-pipeline-crash-reproducer=%t.good.mlir -o /dev/null
// RUN: not cat %t.good.mlir

// SAYS: reproducer: sparsity-opt --run-reproducer {{.*}}.mlir
// KEPT-COUNT-2: arith.muli
// KEPT: pipeline: "builtin.module(cse,count-ops{limit=1})"
// KEPT: load_pass: "count_ops:CountOps"
// AGAIN-NOT: warning
// AGAIN: error: 'func.func' op has 3 ops, expected at most 1
// AGAIN: pass 'count-ops{limit=1}' failed
func.func @f(%x: i32) -> i32 {
  %0 = arith.muli %x, %x : i32
  %1 = arith.muli %x, %x : i32
  %2 = arith.addi %0, %1 : i32
  return %2 : i32
}
