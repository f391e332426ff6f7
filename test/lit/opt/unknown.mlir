// A name or option that does not exist is shown in the whole pipeline, with the nearest name.
// RUN: not sparsity-opt %s --cse --sparsity-detec 2>&1 | FileCheck %s --check-prefix=PASS --strict-whitespace
// RUN: not sparsity-opt %s --pass-pipeline='builtin.module(cse,canonicalise)' 2>&1 | FileCheck %s --check-prefix=UPSTREAM
// RUN: not sparsity-opt %s --verify-diagnostic 2>&1 | FileCheck %s --check-prefix=FLAG
// RUN: not sparsity-opt %s --load-pass=count_ops:CountOps --count-ops=limits=3 2>&1 | FileCheck %s --check-prefix=OPTION
// RUN: not sparsity-opt %s --load-pass=count_ops:CountOps --count-ops=limit=x 2>&1 | FileCheck %s --check-prefix=VALUE
// RUN: not sparsity-opt %s --cse=nothing=1 2>&1 | FileCheck %s --check-prefix=UPSTREAM-OPTION

//      PASS:error: unknown pass or pipeline 'sparsity-detec'
// PASS-NEXT:{{^}}  builtin.module(cse,sparsity-detec)
// PASS-NEXT:{{^}}                     ^~~~~~~~~~~~~~
// PASS-NEXT:did you mean 'sparsity-detect'?

// UPSTREAM: did you mean 'canonicalize'?
// FLAG: did you mean '--verify-diagnostics'?

// OPTION: 'count-ops' has no option 'limits'; accepted: prefix, limit
// OPTION: builtin.module(count-ops{limits=3})
// OPTION: did you mean 'limit'?

// VALUE: option 'limit' of 'count-ops': expected an integer, found 'x'
// UPSTREAM-OPTION: 'cse' has no option 'nothing'
