// RUN: sparsity-opt %s --sparsity-schedule=row-tile=-1 --verify-diagnostics --split-input-file

// expected-error @+1 {{'builtin.module' op expected 'row-tile' of 0 (default) or more, found -1}}
module {
}

// -----

// expected-error @+1 {{'builtin.module' op expected 'row-tile' of 0 (default) or more, found -1}}
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 64 : i64, registers = 32 : i64}>} {
}
