// Each part is an input of its own; the outputs are parted again, and lines count from the file's beginning.
// RUN: sparsity-opt %s --split-input-file --cse | FileCheck %s
// RUN: sparsity-opt %s --split-input-file --mlir-print-debuginfo | FileCheck %s --check-prefix=LINES
// RUN: not sparsity-opt %s --cse 2>&1 | FileCheck %s --check-prefix=WHOLE

// WHOLE: split-input-file.mlir:[[#@LINE+12]]:1: error: redefinition of symbol named 'same'
// CHECK: func.func @same
// CHECK: // -----
// CHECK: func.func @same
// LINES-DAG: loc("{{.*}}split-input-file.mlir":[[#@LINE+1]]:1)
func.func @same() {
  return
}

// -----

// LINES-DAG: loc("{{.*}}split-input-file.mlir":[[#@LINE+1]]:1)
func.func @same() {
  return
}
