// Passes run in the order given, ours and upstream's, with options in either spelling; one dash is enough.
// RUN: sparsity-opt %s --load-pass=count_ops:CountOps --count-ops --cse --mlir-print-ir-after-all 2>&1 >/dev/null | FileCheck %s --check-prefix=ORDER
// RUN: sparsity-opt %s --load-pass=count_ops:CountOps -cse --count-ops=prefix=arith. | FileCheck %s --check-prefix=ONE
// RUN: sparsity-opt %s --load-pass=count_ops:CountOps --count-ops="prefix=arith. limit=9" --canonicalize="max-iterations=2 top-down=false" | FileCheck %s --check-prefix=TWO
// RUN: sparsity-opt --load-pass count_ops:CountOps --pass-pipeline='builtin.module(cse, func.func(canonicalize,cse), count-ops{prefix=arith. limit=9})' < %s | FileCheck %s --check-prefix=ONE

// ORDER: IR Dump After CountOps (count-ops) //
// ORDER: count = 4
// ORDER: IR Dump After Cse (cse) //
// ORDER: count = 4
// ONE: count = 2
// TWO: count = 3
func.func @f(%x: i32) -> i32 {
  %0 = arith.muli %x, %x : i32
  %1 = arith.muli %x, %x : i32
  %2 = arith.addi %0, %1 : i32
  return %2 : i32
}
