// RUN: sparsity-opt %s --convert-sparsity-to-kernels --split-input-file --verify-diagnostics

// expected-error @+1 {{'builtin.module' op expected #sparsity.target to have 'registers', found ['vector_bytes']}}
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 64 : i64}>} {
}

// -----

// expected-error @+1 {{'builtin.module' op expected 'sparsity.target' to be #sparsity.target, found "avx512"}}
module attributes {sparsity.target = "avx512"} {
}
