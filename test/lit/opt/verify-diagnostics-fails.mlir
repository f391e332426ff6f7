// What is not expected, and what is expected in vain, fails.
// RUN: not sparsity-opt %s --split-input-file --verify-diagnostics --load-pass=count_ops:CountOps --count-ops=limit=1 2>&1 >/dev/null | FileCheck %s
// RUN: not sparsity-opt %s --split-input-file --verify-diagnostics=only-expected --load-pass=count_ops:CountOps --count-ops=limit=1 2>&1 >/dev/null | FileCheck %s --check-prefix=ONLY

// ONLY-NOT: unexpected
// ONLY: expected error "has 7 ops" was not produced

// CHECK: verify-diagnostics-fails.mlir:[[#@LINE+1]]:1: error: unexpected error: 'func.func' op has 2 ops
func.func @unexpected(%x: i32) -> i32 {
  %0 = arith.addi %x, %x : i32
  return %0 : i32
}

// -----

// CHECK: verify-diagnostics-fails.mlir:[[#@LINE+3]]:1: error: unexpected error: 'func.func' op has 2 ops
// CHECK: verify-diagnostics-fails.mlir:[[#@LINE+1]]:1: error: expected error "has 7 ops" was not produced
// expected-error @+1 {{has 7 ops}}
func.func @other_text(%x: i32) -> i32 {
  %0 = arith.addi %x, %x : i32
  return %0 : i32
}

// -----

// CHECK: verify-diagnostics-fails.mlir:[[#@LINE+3]]:1: error: unexpected error: 'func.func' op has 2 ops
// CHECK: verify-diagnostics-fails.mlir:[[#@LINE+1]]:1: error: expected warning "has 2 ops" was not produced
// expected-warning @+1 {{has 2 ops}}
func.func @other_severity(%x: i32) -> i32 {
  %0 = arith.addi %x, %x : i32
  return %0 : i32
}
