// Time and statistics by pass, on standard error; the IR stays alone on standard output.
// RUN: sparsity-opt %s --cse --load-pass=count_ops:CountOps --count-ops --mlir-timing 2>&1 >/dev/null | FileCheck %s --check-prefix=TIME
// RUN: sparsity-opt %s --load-pass=count_ops:CountOps --cse --count-ops --count-ops=prefix=func. --statistics=text 2>&1 >%t.mlir | FileCheck %s --check-prefix=TEXT
// RUN: FileCheck %s --check-prefix=IR < %t.mlir
// RUN: sparsity-opt %s --load-pass=count_ops:CountOps --count-ops=prefix=arith. --statistics=json 2>&1 >/dev/null | %python -c "import json, sys; print(json.load(sys.stdin)['passes'][0])" | FileCheck %s --check-prefix=JSON

// TIME: ... Execution time report ...
// TIME: Total Execution Time: {{[0-9.]+}} seconds
// TIME: Parser
// TIME: {{[0-9.]+ \( *[0-9.]+%\)}}  cse
// TIME: {{[0-9.]+ \( *[0-9.]+%\)}}  count-ops
// TIME: Output
// TIME: Total

// TEXT: ... Pass statistics report ...
// TEXT-NEXT: ===
// TEXT-NEXT: count-ops
// TEXT-NEXT: (S) 1 arith.muli
// TEXT-NEXT: (S) 1 func.return
// TEXT-NEXT: count-ops{prefix=func.}
// TEXT-NEXT: (S) 1 func.return
// TEXT-NOT: (S)

// IR-NOT: statistics
// IR: func.func @f

// JSON: 'pass': 'count-ops', 'argument': 'count-ops{prefix=arith.}'
// JSON-SAME: 'statistics': {'arith.muli': 1}
func.func @f(%x: i32) -> i32 {
  %0 = arith.muli %x, %x : i32
  return %0 : i32
}
