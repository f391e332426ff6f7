// RUN: not sparsity-opt %s --sparsity-number-format="weights=int4" 2>&1 | FileCheck %s
// RUN: not sparsity-opt %s --sparsity-number-format="weights=int8 arithmetic=f16" 2>&1 | FileCheck %s --check-prefix=PAIR
// RUN: not sparsity-opt %s --sparsity-number-format="weights=int8 half-sums=8" 2>&1 | FileCheck %s --check-prefix=HALF
// RUN: not sparsity-opt %s --sparsity-number-format="weights=f16 arithmetic=f16 half-sums=-1" 2>&1 | FileCheck %s --check-prefix=LESS

// CHECK: unknown 'weights' 'int4'; accepted: f32, f16, int8
// PAIR: arithmetic in f16 takes weights of f16, found weights of int8
// HALF: expected 'half-sums' to be 0, or positive beside arithmetic in f16, found 8
// LESS: expected 'half-sums' to be 0, or positive beside arithmetic in f16, found -1
module {}
