// RUN: sparsity-opt %s --sparsity-layout=panel=24 --verify-diagnostics

// expected-error @+1 {{'builtin.module' op expected 'panel' among 64, 32, 16, found 24}}
module {
}
