// The dialect in IRDL is itself MLIR that the tool reads.
// RUN: sparsity-opt --emit-irdl | sparsity-opt | FileCheck %s
// CHECK: irdl.dialect @sparsity
// CHECK: irdl.operation @linear
