// Every way to say where a diagnostic is expected, across parts.
// RUN: sparsity-opt %s --split-input-file --verify-diagnostics --load-pass=count_ops:CountOps --count-ops=limit=1
// RUN: sparsity-opt %s --split-input-file --verify-diagnostics=all --load-pass=count_ops:CountOps --count-ops=limit=1

// expected-error @+1 {{has 2 ops, expected at most 1}}
func.func @next(%x: i32) -> i32 {
  %0 = arith.addi %x, %x : i32
  return %0 : i32
}

// -----

func.func @previous(%x: i32) -> i32 { // expected-error {{'func.func' op has 2 ops}}
  %0 = arith.addi %x, %x : i32
  return %0 : i32
}

// -----

func.func @types(%x: f32) -> i32 {
  // expected-error @below {{expects different type than prior uses}}
  %0 = arith.addi %x, %x : i32
  return %0 : i32
}
// expected-note @-5 {{prior use here}}

// -----

func.func @above(%x: i32) {
  "sparsity.weight"() {source = 3 : i64} : () -> tensor<2xf32>
  // expected-error-re @above {{'sparsity.{{[a-z]+}}' op}}
  return
}

// -----

// A part without a fault needs no comment.
func.func @clean() { return }
