// A reproducer that mlir-opt wrote is understood.
// RUN: sparsity-opt --run-reproducer %s | FileCheck %s
// CHECK-COUNT-1: arith.muli
// CHECK-NOT: arith.muli
func.func @f(%x: i32) -> i32 {
  %0 = arith.muli %x, %x : i32
  %1 = arith.muli %x, %x : i32
  %2 = arith.addi %0, %1 : i32
  return %2 : i32
}

{-#
  external_resources: {
    mlir_reproducer: {
      pipeline: "builtin.module(cse)",
      disable_threading: false,
      verify_each: true
    }
  }
#-}
