// IR that a pass left broken is caught behind that pass, or, with --verify-each=false, not.
// RUN: not sparsity-opt %s --load-pass=swap_operands:BreakReturn --break-return --mlir-print-ir-after-failure 2>&1 | FileCheck %s
// RUN: sparsity-opt %s --load-pass=swap_operands:BreakReturn --break-return --verify-each=false | FileCheck %s --check-prefix=UNCHECKED

// CHECK: error: type of return operand 0 ('i32') doesn't match function result type ('f32')
// CHECK: IR Dump After BreakReturn Failed (break-return)
// CHECK: pass 'break-return' failed: the IR it left does not verify
// UNCHECKED: -> f32
func.func @f(%x: i32) -> i32 {
  return %x : i32
}
