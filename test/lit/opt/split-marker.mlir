// The marker between parts may be another one.
// RUN: sparsity-opt %s --split-input-file="// ~~~~~" | FileCheck %s
// CHECK: func.func @same
// CHECK: func.func @same
func.func @same() { return }
// ~~~~~
func.func @same() { return }
