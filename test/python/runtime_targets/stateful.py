"""A program of four functions with state: its text, the program in NumPy, and a sequence of calls."""

import numpy as np

from secateur.runtime_targets.iree import assemble, compile_assembly
from secateur.runtime_targets.targets import get_target

from .level4 import KIND, PLACE, ROW, ROWS, WIDTH, call, parse, rows

# `append` puts a row into the cache and gives the sums over its rows. `step` is a recurrent cell, whose kernel works in
# the cell's storage. `use` chooses the scales that `main` multiplies by. `main` gives the cell a value in between, and
# the old one again. All of them count themselves.
PROGRAM = f"""
ml_program.global private mutable @cache(dense<0.0> : {KIND}) : {KIND} {{sparsity.state}}
ml_program.global private mutable @cell(dense<0.5> : {KIND}) : {KIND} {{sparsity.state}}
ml_program.global private mutable @scales : tensor<{WIDTH}xf32> {{sparsity.state = "level0"}}
ml_program.global private mutable @calls(dense<0> : tensor<i32>) : tensor<i32> {{sparsity.state}}
ml_program.global private mutable @global_seed(dense<0> : tensor<i64>) : tensor<i64>

func.func private @cell_kernel(%x: memref<8x16xf32>, %s: memref<8x16xf32>, {PLACE}) attributes {{sparsity.kernel}} {{
  %c0 = arith.constant 0 : index
  %a = vector.load %x[%i, %c0] : {ROW}
  %b = vector.load %s[%i, %c0] : {ROW}
  %half = arith.constant dense<0.5> : vector<16xf32>
  %kept = arith.mulf %b, %half : vector<16xf32>
  %new = arith.addf %a, %kept : vector<16xf32>
  vector.store %new, %s[%i, %c0] : {ROW}
  return
}}
func.func private @count() -> tensor<i32> {{
  %old = ml_program.global_load @calls : tensor<i32>
  %one = arith.constant dense<1> : tensor<i32>
  %new = arith.addi %old, %one : tensor<i32>
  ml_program.global_store @calls = %new : tensor<i32>
  return %new : tensor<i32>
}}
func.func @append(%row: tensor<1x{WIDTH}xf32>, %place: tensor<i64>) -> (tensor<{WIDTH}xf32>, tensor<i32>) {{
  %calls = call @count() : () -> tensor<i32>
  %at = tensor.extract %place[] : tensor<i64>
  %i = arith.index_cast %at : i64 to index
  %old = ml_program.global_load @cache : {KIND}
  %new = tensor.insert_slice %row into %old[%i, 0] [1, {WIDTH}] [1, 1] : tensor<1x{WIDTH}xf32> into {KIND}
  ml_program.global_store @cache = %new : {KIND}
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<{WIDTH}xf32>
  %filled = linalg.fill ins(%zero : f32) outs(%empty : tensor<{WIDTH}xf32>) -> tensor<{WIDTH}xf32>
  %sums = linalg.reduce ins(%new : {KIND}) outs(%filled : tensor<{WIDTH}xf32>) dimensions = [0]
    (%a: f32, %b: f32) {{
      %s = arith.addf %a, %b : f32
      linalg.yield %s : f32
    }}
  return %sums, %calls : tensor<{WIDTH}xf32>, tensor<i32>
}}
func.func @step(%x: {KIND}) {{
  %calls = call @count() : () -> tensor<i32>
  %old = ml_program.global_load @cell : {KIND}
  {call("%new", "cell_kernel", ["%x", "%old"], [1])}
  ml_program.global_store @cell = %new : {KIND}
  return
}}
func.func @use(%scales: tensor<{WIDTH}xf32>) {{
  %calls = call @count() : () -> tensor<i32>
  ml_program.global_store @scales = %scales : tensor<{WIDTH}xf32>
  return
}}
func.func @main(%x: {KIND}) -> ({KIND}, {KIND}, tensor<i32>) {{
  %before = ml_program.global_load @cell : {KIND}
  %zero = arith.constant dense<0.0> : {KIND}
  ml_program.global_store @cell = %zero : {KIND}
  %after = ml_program.global_load @cell : {KIND}
  ml_program.global_store @cell = %before : {KIND}
  %scales = ml_program.global_load @scales : tensor<{WIDTH}xf32>
  %level = "sparsity.weight"() {{source = "level0"}} : () -> tensor<{WIDTH}xf32>
  %both = arith.addf %scales, %level : tensor<{WIDTH}xf32>
  %empty = tensor.empty() : {KIND}
  %wide = linalg.broadcast ins(%both : tensor<{WIDTH}xf32>) outs(%empty : {KIND}) dimensions = [0]
  %y = arith.mulf %x, %wide : {KIND}
  %z = arith.addf %y, %after : {KIND}
  %calls = call @count() : () -> tensor<i32>
  return %z, %before, %calls : {KIND}, {KIND}, tensor<i32>
}}"""
WEIGHTS = {"level0": np.linspace(1, 2, WIDTH, dtype=np.float32)}


class Expected:
    """The program in NumPy."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.cache = np.zeros((ROWS, WIDTH), np.float32)
        self.cell = np.full((ROWS, WIDTH), 0.5, np.float32)
        self.scales, self.calls = WEIGHTS["level0"], 0
        return []

    def call(self, function, *inputs):
        if function == "reset":
            return self.reset()
        self.calls += 1
        if function == "append":
            self.cache[inputs[1]] = inputs[0]
            return [self.cache.sum(0), np.int32(self.calls)]
        if function == "step":
            self.cell = inputs[0] + self.cell / 2
            return []
        if function == "use":
            self.scales = inputs[0].copy()
            return []
        return [inputs[0] * (self.scales + WEIGHTS["level0"]), self.cell, np.int32(self.calls)]


def calls():
    """Every function after every other one, with a reset in between."""
    scales = rows(9)[0]
    for number in range(2):
        yield "main", (rows(number),)
        yield "append", (rows(number)[:1], np.array(3, np.int64))
        yield "step", (rows(number + 1),)
        yield "append", (rows(number)[1:2], np.array(5 + number, np.int64))
        yield "step", (rows(number + 2),)
        yield "use", (scales,)
        yield "main", (rows(number + 3),)
        yield "step", (rows(number + 4),)
        yield "main", (rows(number + 5),)
        yield "append", (rows(number)[2:3], np.array(3, np.int64))
        if number == 0:
            yield "reset", ()
    yield "main", (rows(7),)


def check(found, wanted, what):
    assert len(found) == len(wanted)
    for result, expected in zip(found, wanted, strict=True):
        assert result.shape == expected.shape and result.dtype == expected.dtype
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5, err_msg=what)


def compiled(text=PROGRAM, flags=(), **options):
    assembly = assemble(parse(text), WEIGHTS, **options)
    return assembly, compile_assembly(assembly, get_target("host-cpu", workers=2), flags=flags)
