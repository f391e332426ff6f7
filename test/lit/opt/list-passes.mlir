// Every pass with its summary and options, and the named pipelines.
// RUN: sparsity-opt --list-passes --load-pass=count_ops:CountOps | FileCheck %s
// CHECK: passes:
// CHECK: --count-ops
// CHECK-NEXT: Marks each function
// CHECK-NEXT: prefix=<str> (default: '')
// CHECK-NEXT: limit=<int> (default: 0)
// CHECK: --sparsity-reorder
// CHECK: pipelines:
// CHECK: --structural
// CHECK-NEXT: sparsity-detect,sparsity-fuse
