// When the module is printed around passes.
// RUN: sparsity-opt %s --cse --canonicalize --mlir-print-ir-before-all --mlir-print-ir-after-all 2>&1 >/dev/null | FileCheck %s --check-prefix=ALL
// RUN: sparsity-opt %s --cse --cse --symbol-dce --mlir-print-ir-after-change 2>&1 >/dev/null | FileCheck %s --check-prefix=CHANGE
// RUN: sparsity-opt %s --cse --canonicalize --mlir-print-ir-before=canonicalize --mlir-print-ir-after=cse 2>&1 >/dev/null | FileCheck %s --check-prefix=NAMED
// RUN: not sparsity-opt %s --cse --load-pass=count_ops:CountOps --count-ops=limit=1 --mlir-print-ir-after-failure 2>&1 | FileCheck %s --check-prefix=FAILURE
// RUN: rm -rf %t.tree && sparsity-opt %s --cse --canonicalize --mlir-print-ir-after-all --mlir-print-ir-tree-dir=%t.tree -o /dev/null
// RUN: FileCheck %s --check-prefix=TREE < %t.tree/builtin_module_no-symbol-name/1_canonicalize.mlir

// ALL: // -----// IR Dump Before Cse (cse) //----- //
// ALL: // -----// IR Dump After Cse (cse) //----- //
// ALL: // -----// IR Dump Before Canonicalize (canonicalize) //----- //
// ALL: // -----// IR Dump After Canonicalize (canonicalize) //----- //

// CHANGE: IR Dump After Cse (cse)
// CHANGE-NOT: IR Dump After Cse
// CHANGE: IR Dump After SymbolDce (symbol-dce)
// CHANGE-NOT: @unused

// NAMED-NOT: Before Cse
// NAMED: IR Dump After Cse (cse)
// NAMED: IR Dump Before Canonicalize (canonicalize)
// NAMED-NOT: After Canonicalize

// FAILURE-NOT: IR Dump After Cse
// FAILURE: error: 'func.func' op has 3 ops, expected at most 1
// FAILURE: IR Dump After CountOps Failed (count-ops{limit=1})
// FAILURE: "func.func"

// TREE: IR Dump After Canonicalize (canonicalize)
// TREE: func.func @f
func.func @f(%x: i32) -> i32 {
  %0 = arith.muli %x, %x : i32
  %1 = arith.muli %x, %x : i32
  %2 = arith.addi %0, %1 : i32
  return %2 : i32
}
func.func private @unused() { return }
