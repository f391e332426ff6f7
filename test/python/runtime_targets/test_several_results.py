"""Dispatches with several results and many operands, beside NumPy."""

import numpy as np

from secateur.dialects.sparsity.kernel_ops import MOST_OPERANDS, MOST_RESULTS

from .level4 import KIND, PLACE, ROW, call, check, rows

QUANTIZE = f"""
func.func private @quantize(%x: memref<8x16xf32>, %q: memref<8x16xi8>, %scales: memref<8xf32>, {PLACE})
    attributes {{sparsity.kernel}} {{
  %c0 = arith.constant 0 : index
  %x0 = vector.load %x[%i, %c0] : {ROW}
  %size = math.absf %x0 : vector<16xf32>
  %most = vector.reduction <maximumf>, %size : vector<16xf32> into f32
  %steps = arith.constant 127.0 : f32
  %scale = arith.divf %most, %steps : f32
  %divisor = vector.broadcast %scale : f32 to vector<16xf32>
  %y = arith.divf %x0, %divisor : vector<16xf32>
  %rounded = math.roundeven %y : vector<16xf32>
  %q0 = arith.fptosi %rounded : vector<16xf32> to vector<16xi8>
  vector.store %q0, %q[%i, %c0] : memref<8x16xi8>, vector<16xi8>
  memref.store %scale, %scales[%i] : memref<8xf32>
  return
}}"""


def test_quantized_rows_beside_their_scales(run):
    kinds = ["tensor<8x16xi8>", "tensor<8xf32>"]
    text = f"""{QUANTIZE}
    func.func @main(%x: {KIND}) -> ({", ".join(kinds)}) {{
      {call("%q, %scales", "quantize", ["%x"], made=kinds)}
      return %q, %scales : {", ".join(kinds)}
    }}"""
    x = rows(0)
    scales = np.abs(x).max(1) / np.float32(127)
    found = run(text, [x])
    check(found, [np.rint(x / scales[:, None]), scales])
    assert {q.dtype for q, _ in found} == {np.dtype(np.int8)}


def test_as_many_operands_and_results_as_are_accepted(run):
    names = [f"a{i}" for i in range(MOST_OPERANDS)]
    memrefs = ", ".join(f"%{n}: memref<8x16xf32>" for n in [*names, *(f"r{i}" for i in range(MOST_RESULTS))])
    body = "".join(f"  %v{i} = vector.load %{n}[%i, %c0] : {ROW}\n" for i, n in enumerate(names))
    for r in range(MOST_RESULTS):
        total = f"%v{r}"
        for i in range(r + 1, MOST_OPERANDS, r + 1):
            body += f"  %s{r}_{i} = arith.addf {total}, %v{i} : vector<16xf32>\n"
            total = f"%s{r}_{i}"
        body += f"  vector.store {total}, %r{r}[%i, %c0] : {ROW}\n"
    results = [f"%r{i}" for i in range(MOST_RESULTS)]
    text = f"""func.func private @many({memrefs}, {PLACE}) attributes {{sparsity.kernel}} {{
      %c0 = arith.constant 0 : index\n{body}  return\n}}
    func.func @main({", ".join(f"%{n}: {KIND}" for n in names)}) -> ({", ".join([KIND] * MOST_RESULTS)}) {{
      {call(", ".join(results), "many", [f"%{n}" for n in names])}
      return {", ".join(results)} : {", ".join([KIND] * MOST_RESULTS)}
    }}"""
    inputs = [rows(i) for i in range(MOST_OPERANDS)]
    check(run(text, inputs), [inputs[r] + sum(inputs[r + 1 :: r + 1]) for r in range(MOST_RESULTS)])
