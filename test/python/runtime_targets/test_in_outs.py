"""Results in the storage of operands: every reader keeps its value, and nothing is copied for nothing."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from secateur.runtime_targets.iree import assemble, compile_assembly

from .level4 import KIND, PLACE, ROW, ROWS, WIDTH, call, check, parse, rows

HALF = f"tensor<{ROWS // 2}x{WIDTH}xf32>"
_NEXT = """
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c8 = arith.constant 8 : index
  %c16 = arith.constant 16 : index
  %up = arith.addi %i, %c1 : index
  %next = arith.remui %up, %c8 : index"""

# A workgroup reads the next row of `a`: where `a` lay in what is overwritten, the last one would read a new row.
STEP = f"""
func.func private @step(%a: memref<8x16xf32>, %s: memref<8x16xf32>, %o: memref<8x16xf32>, {PLACE})
    attributes {{sparsity.kernel}} {{{_NEXT}
  %x = vector.load %a[%next, %c0] : {ROW}
  %old = vector.load %s[%i, %c0] : {ROW}
  %twice = arith.addf %old, %old : vector<16xf32>
  %new = arith.addf %x, %twice : vector<16xf32>
  %out = arith.subf %old, %x : vector<16xf32>
  vector.store %new, %s[%i, %c0] : {ROW}
  vector.store %out, %o[%i, %c0] : {ROW}
  return
}}
func.func private @flat(%a: memref<?xf32>, %s: memref<8x16xf32>, {PLACE}) attributes {{sparsity.kernel}} {{{_NEXT}
  %at = arith.muli %next, %c16 : index
  %x = vector.load %a[%at] : memref<?xf32>, vector<16xf32>
  %old = vector.load %s[%i, %c0] : {ROW}
  %new = arith.subf %old, %x : vector<16xf32>
  vector.store %new, %s[%i, %c0] : {ROW}
  return
}}
func.func private @mix(%a: memref<8x16xf32>, %b: memref<8x16xf32>, %o: memref<8x16xf32>, %p: memref<8x16xf32>, {PLACE})
    attributes {{sparsity.kernel}} {{{_NEXT}
  %x = vector.load %a[%next, %c0] : {ROW}
  %y = vector.load %b[%i, %c0] : {ROW}
  %sum = arith.addf %x, %y : vector<16xf32>
  %difference = arith.subf %y, %x : vector<16xf32>
  vector.store %sum, %o[%i, %c0] : {ROW}
  vector.store %difference, %p[%i, %c0] : {ROW}
  return
}}"""


def following(a: np.ndarray) -> np.ndarray:
    """The next row in place of every row."""
    return np.roll(a, -1, axis=0)


@dataclasses.dataclass
class Program:
    """Ops on a growing list of tensors: its text, and what NumPy makes of it. Operands are positions in the list."""

    values: list[np.ndarray]
    names: list[str]
    halves: list[tuple[str, np.ndarray]] = dataclasses.field(default_factory=list)
    text: str = ""

    def add(self, what: str, first: int, second: int) -> None:
        number = len(self.values)
        names = [self.names[i % number] for i in (first, second)]
        a, b = (self.values[i % number] for i in (first, second))
        new = f"%v{number}"
        if what == "step":
            self.text += call(f"{new}, %v{number + 1}", "step", names, [1, -1])
            self._append(following(a) + 2 * b, b - following(a))
        elif what == "flat":
            self.text += f"%f{number} = tensor.collapse_shape {names[0]} [[0, 1]] : {KIND} into tensor<128xf32>\n"
            self.text += call(new, "flat", [f"%f{number}", names[1]], [1], {0: "tensor<128xf32>"})
            self._append(b - following(a))
        elif what == "mix":
            self.text += call(f"{new}, %v{number + 1}", "mix", names)
            self._append(following(a) + b, b - following(a))
        elif what == "cut":
            self.halves.append((f"%h{number}_{len(self.halves)}", a[4:]))
            self.text += f"{self.halves[-1][0]} = tensor.extract_slice {names[0]}[4, 0] [4, 16] [1, 1]"
            self.text += f" : {KIND} to {HALF}\n"
        elif what == "paste" and self.halves:
            name, half = self.halves[first % len(self.halves)]
            self.text += (
                f"{new} = tensor.insert_slice {name} into {names[1]}[0, 0] [4, 16] [1, 1] : {HALF} into {KIND}\n"
            )
            self._append(np.concatenate([half, b[4:]]))
        else:
            self.text += f"{new} = arith.subf {names[0]}, {names[1]} : {KIND}\n"
            self._append(a - b)

    def _append(self, *results: np.ndarray) -> None:
        for result in results:
            self.names.append(f"%v{len(self.values)}")
            self.values.append(result)


_OPS = st.lists(
    st.tuples(st.sampled_from(["step", "flat", "mix", "cut", "paste", "sub"]), st.integers(0, 9), st.integers(0, 9)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(_OPS, st.lists(st.integers(0, 15), min_size=1, max_size=3))
@example([("step", 0, 1)], [4, 5])
@example([("step", 0, 1), ("step", 1, 1), ("sub", 1, 3)], [3, 5, 7])
@example([("sub", 0, 1), ("step", 4, 4), ("mix", 4, 5)], [4, 5, 6, 7])
@example([("sub", 0, 1), ("flat", 4, 4)], [5])
@example([("sub", 0, 1), ("mix", 4, 0), ("step", 0, 4), ("step", 0, 7)], [5, 9, 10])
@example([("step", 0, 2), ("step", 0, 3), ("flat", 2, 2)], [4, 6, 8])
@example([("sub", 0, 1), ("cut", 4, 4), ("step", 0, 4), ("paste", 0, 5), ("paste", 0, 0)], [5, 7, 8])
def test_in_outs_keep_their_value_for_every_reader(run, ops, returned):
    """Whatever reads what: arguments, a weight, a constant, values with later readers, tensors given twice."""
    x, y, weight = rows(0), rows(1), rows(2)
    program = Program([x, y, weight, np.full((ROWS, WIDTH), 0.5, np.float32)], ["%x", "%y", "%weight", "%half"])
    for op in ops:
        program.add(*op)
    results = [i % len(program.values) for i in returned]
    kinds = ", ".join([KIND] * len(results))
    text = f"""{STEP}
    func.func @main(%x: {KIND}, %y: {KIND}) -> ({kinds}) {{
      %weight = "sparsity.weight"() {{source = "w"}} : () -> {KIND}
      %half = arith.constant dense<0.5> : {KIND}
      {program.text}
      return {", ".join(program.names[i] for i in results)} : {kinds}
    }}"""
    check(run(text, [x, y], {"w": weight}), [program.values[i] for i in results])


def test_plain_updates_leave_the_callers_arrays_alone_too(run):
    text = f"""func.func @main(%x: {KIND}, %row: tensor<1x{WIDTH}xf32>) -> {KIND} {{
      %y = tensor.insert_slice %row into %x[2, 0] [1, {WIDTH}] [1, 1] : tensor<1x{WIDTH}xf32> into {KIND}
      return %y : {KIND}
    }}"""
    x, row = rows(0), rows(1)[:1]
    check(run(text, [x, row]), [np.concatenate([x[:2], row, x[3:]])])


@pytest.mark.parametrize(
    ("body", "copies"),
    [
        ("", 0),
        (f"%late = arith.addf %s, %s : {KIND}\n", 1),
    ],
)
def test_the_storage_is_the_operands_where_nothing_reads_it_later(target, body, copies):
    """IREE's own account: a step reads and writes one buffer, and only a later reader costs a copy."""
    late = "%late" if body else "%o2"
    text = f"""{STEP}
    func.func @main(%x: {KIND}) -> ({KIND}, {KIND}) {{
      %s = arith.addf %x, %x : {KIND}
      {call("%s1, %o1", "step", ["%x", "%s"], [1, -1])}
      {call("%s2, %o2", "step", ["%o1", "%s1"], [1, -1])}
      {body}
      return %s2, {late} : {KIND}, {KIND}
    }}"""
    stream = compile_assembly(assemble(parse(text), {}), target, flags=["--compile-to=stream"]).decode()
    main = stream[stream.index("util.func public @main") :]
    assert main.count("stream.cmd.copy") == copies
    assert main.count("rw %") == 2
