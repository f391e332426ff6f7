"""Dispatches with several results and results in the storage of operands, as code for a GPU's threads."""

import numpy as np
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.dialects.sparsity.kernel_ops import MOST_OPERANDS, MOST_RESULTS, segment_sizes
from secateur.runtime_targets import iree
from secateur.runtime_targets.iree.lavapipe import LavapipeSession
from secateur.runtime_targets.targets import get_target

BASELINE = get_target("android-vulkan")
KIND, BUFFER = "tensor<8x16xf32>", "memref<8x16xf32>"
PLACE = "%i: index, %j: index, %l: index"
THREADS = "attributes {sparsity.kernel, sparsity.threads = array<i64: 4, 2, 1>}"

# Reads the next row of `a`: where `a` lay in what is overwritten, the last threads would read a new one.
STEP = f"""
func.func private @step(%a: {BUFFER}, %s: {BUFFER}, %o: {BUFFER}, {PLACE}) {THREADS} {{
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %c8 = arith.constant 8 : index
  %up = arith.addi %j, %c1 : index
  %next = arith.remui %up, %c8 : index
  %at = arith.muli %i, %c4 : index
  %x = vector.load %a[%next, %at] : {BUFFER}, vector<4xf32>
  %old = vector.load %s[%j, %at] : {BUFFER}, vector<4xf32>
  %new = arith.addf %x, %old : vector<4xf32>
  %out = arith.mulf %x, %old : vector<4xf32>
  vector.store %new, %s[%j, %at] : {BUFFER}, vector<4xf32>
  vector.store %out, %o[%j, %at] : {BUFFER}, vector<4xf32>
  return
}}"""


def call(results, kernel, operands, ties=None):
    count = results.count(",") + 1
    mark = f"tied_operands = array<i64: {', '.join(map(str, ties))}>, " if ties else ""
    return (
        f'{results} = "sparsity.dispatch"({", ".join(operands)}) {{kernel = @{kernel}, grid = array<i64: 4, 8, 1>, '
        f"{mark}{segment_sizes(len(operands), count)}}} : ({', '.join([KIND] * len(operands))}) -> "
        f"({', '.join([KIND] * count)})\n"
    )


def run(text, inputs):
    with make_context(), ir.Location.unknown():
        assembly = iree.assemble(ir.Module.parse(text), {}, target=BASELINE)
    with LavapipeSession(iree.compile_assembly(assembly, BASELINE), lanes=8) as session:
        return session.run(inputs)


def following(a):
    return np.roll(a, -1, axis=0)


def rows(seed):
    return np.random.default_rng(seed).standard_normal((8, 16)).astype(np.float32)


def test_updates_in_place_keep_their_value_for_every_reader(lavapipe):
    kinds = ", ".join([KIND] * 5)
    text = f"""{STEP}
    func.func @main(%x: {KIND}, %y: {KIND}) -> ({kinds}) {{
      %s = arith.addf %x, %y : {KIND}
      {call("%s1, %o1", "step", ["%x", "%s"], [1, -1])}
      {call("%s2, %o2", "step", ["%s1", "%s1"], [1, -1])}
      {call("%y1, %o3", "step", ["%o1", "%y"], [1, -1])}
      %late = arith.subf %s, %y : {KIND}
      return %s2, %o2, %y1, %o3, %late : {kinds}
    }}"""
    x, y = rows(0), rows(1)
    s1, o1 = following(x) + x + y, following(x) * (x + y)
    wanted = [following(s1) + s1, following(s1) * s1, following(o1) + y, following(o1) * y, x]
    for found, expected in zip(run(text, [x, y]), wanted, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_as_many_operands_and_results_as_are_accepted(lavapipe):
    names = [f"a{i}" for i in range(MOST_OPERANDS)]
    results = [f"r{i}" for i in range(MOST_RESULTS)]
    body = "".join(f"  %v{n} = vector.load %{n}[%j, %at] : {BUFFER}, vector<4xf32>\n" for n in names)
    for r, result in enumerate(results):
        first, second, third = (names[r + 8 * i] for i in range(3))
        body += f"  %s{r} = arith.addf %v{first}, %v{second} : vector<4xf32>\n"
        body += f"  %t{r} = arith.subf %s{r}, %v{third} : vector<4xf32>\n"
        body += f"  vector.store %t{r}, %{result}[%j, %at] : {BUFFER}, vector<4xf32>\n"
    memrefs = ", ".join(f"%{name}: {BUFFER}" for name in [*names, *results])
    text = f"""
    func.func private @many({memrefs}, {PLACE}) {THREADS} {{
      %c4 = arith.constant 4 : index
      %at = arith.muli %i, %c4 : index
    {body}  return
    }}
    func.func @main({", ".join(f"%{n}: {KIND}" for n in names)}) -> ({", ".join([KIND] * MOST_RESULTS)}) {{
      {call(", ".join("%" + r for r in results), "many", [f"%{n}" for n in names])}
      return {", ".join("%" + r for r in results)} : {", ".join([KIND] * MOST_RESULTS)}
    }}"""
    inputs = [rows(i) for i in range(MOST_OPERANDS)]
    for r, found in enumerate(run(text, inputs)):
        np.testing.assert_allclose(found, inputs[r] + inputs[r + 8] - inputs[r + 16], rtol=1e-5, atol=1e-5)
