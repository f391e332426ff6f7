// Ops of unknown dialects are refused unless they are asked for.
// RUN: sparsity-opt %s --allow-unregistered-dialect | FileCheck %s
// RUN: not sparsity-opt %s 2>&1 | FileCheck %s --check-prefix=REFUSED
// CHECK: "unknown.op"() : () -> ()
// REFUSED: allow-unregistered-dialect.mlir:[[#@LINE+1]]:13: error: operation being parsed with an unregistered dialect
"unknown.op"() : () -> ()
