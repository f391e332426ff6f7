"""What becomes of level 4 on its way to IREE, and what is refused."""

import numpy as np
import pytest

from secateur.dialects.sparsity.kernel_ops import segment_sizes
from secateur.runtime_targets.iree import (
    AssemblyError,
    CompilationError,
    Session,
    assemble,
    compile_assembly,
    write_parameters,
)
from secateur.runtime_targets.iree.compile import STOCK_FLAGS
from secateur.runtime_targets.iree.parameters import ParameterError

from .level4 import parse

_FILL = """
func.func private @fill(%x: memref<?xf32>, %y: memref<4x4xf32>, %i: index, %j: index, %l: index)
    attributes {sparsity.kernel} {
  %v = memref.load %x[%i] : memref<?xf32>
  %iy = arith.index_cast %j : index to i32
  %fy = arith.sitofp %iy : i32 to f32
  %s = arith.addf %v, %fy : f32
  memref.store %s, %y[%i, %j] : memref<4x4xf32>
  return
}
"""


def _dispatch(name, source, size, grid="4, 4, 1", kernel="fill"):
    return (
        f'%{name} = "sparsity.dispatch"(%{source}) {{kernel = @{kernel}, grid = array<i64: {grid}>, '
        f"{segment_sizes(1)}}} : (tensor<{size}xf32>) -> tensor<4x4xf32>"
    )


def _run(text, weights, inputs, target, tmp_path, flags=()):
    assembly = assemble(parse(text), weights)
    write_parameters(tmp_path / "w.irpa", assembly.parameters)
    session = Session(compile_assembly(assembly, target, flags=flags), tmp_path / "w.irpa")
    return assembly, session.run(inputs)


def test_one_executable_serves_all_sizes_and_grids(target, tmp_path):
    text = f"""{_FILL}
    func.func @main(%a: tensor<4xf32>, %b: tensor<9xf32>) -> (tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>) {{
      {_dispatch("p", "a", 4)}
      {_dispatch("q", "b", 9)}
      {_dispatch("r", "a", 4, "4, 2, 1")}
      return %p, %q, %r : tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>
    }}"""
    a, b = np.arange(4, dtype=np.float32), np.arange(9, dtype=np.float32) * 10
    assembly, (p, q, r) = _run(text, {}, [a, b], target, tmp_path)
    assert assembly.text.count('"stream.executable"') == 1
    np.testing.assert_array_equal(p, a[:, None] + np.arange(4))
    np.testing.assert_array_equal(q, b[:4, None] + np.arange(4))
    # The third grid leaves two columns unwritten.
    np.testing.assert_array_equal(r[:, :2], a[:, None] + np.arange(2))


def test_the_module_is_not_changed(model):
    module = parse(model.text)
    before = str(module)
    assemble(module, model.weights)
    assert str(module) == before
    assert not module.context.allow_unregistered_dialects


def test_text_is_reproducible_and_free_of_the_dialect(model, assembly):
    assert assemble(parse(model.text), model.weights).text == assembly.text
    assert "sparsity" not in assembly.text


def test_parameters_are_the_arrays_themselves(model, assembly):
    # The shift is tiny enough for a constant only up to 64 bytes; it has 96.
    assert sorted(assembly.parameters) == sorted(model.weights)
    assert all(assembly.parameters[name] is model.weights[name] for name in model.weights)


def test_weights_tied_unused_tiny_literal_and_bool(target, tmp_path):
    tied = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
    weights = {
        "tied.a": tied,
        "tied.b": tied[:],
        'odd "name" \\ é': np.full((40, 3), 2, np.float32),
        "unused": np.zeros((40, 3), np.float32),
        "scalar": np.array(5, np.float32),
        "mask": np.arange(120).reshape(40, 3) % 2 == 0,
    }
    kind = "tensor<40x3xf32>"
    text = f"""func.func @main(%x: {kind}) -> {kind} {{
      %a = "sparsity.weight"() {{source = "tied.a"}} : () -> {kind}
      %b = "sparsity.weight"() {{source = "tied.b"}} : () -> {kind}
      %u = "sparsity.weight"() {{source = "unused"}} : () -> {kind}
      %o = "sparsity.weight"() {{source = "odd \\"name\\" \\\\ é"}} : () -> {kind}
      %l = "sparsity.weight"() {{source = dense<0.5> : {kind}}} : () -> {kind}
      %m = "sparsity.weight"() {{source = "mask"}} : () -> tensor<40x3xi1>
      %n = "sparsity.weight"() {{source = "scalar"}} : () -> tensor<f32>
      %s = tensor.extract %n[] : tensor<f32>
      %f = tensor.splat %s : {kind}
      %0 = arith.addf %a, %b : {kind}
      %1 = arith.mulf %0, %o : {kind}
      %2 = arith.addf %1, %l : {kind}
      %3 = arith.select %m, %2, %f : tensor<40x3xi1>, {kind}
      %4 = arith.addf %3, %x : {kind}
      return %4 : {kind}
    }}"""
    x = np.ones((40, 3), np.float32)
    assembly, (y,) = _run(text, weights, [x], target, tmp_path)
    assert sorted(assembly.parameters) == ["mask", 'odd "name" \\ é', "tied.a"]
    np.testing.assert_allclose(y, np.where(weights["mask"], tied * 4 + 0.5, 5) + 1, rtol=1e-6)


def test_dense_modules_compile_with_stock_flags(target, tmp_path):
    weight = np.random.default_rng(0).standard_normal((48, 40)).astype(np.float32)
    text = """
    ml_program.global private mutable @seed(dense<0> : tensor<i64>) : tensor<i64>
    func.func @main(%x: tensor<16x48xf32>) -> tensor<16x40xf32> {
      %w = "sparsity.weight"() {source = "w", sparsity.encoding = #sparsity.dense<{}>} : () -> tensor<48x40xf32>
      %zero = arith.constant 0.0 : f32
      %e = tensor.empty() : tensor<16x40xf32>
      %f = linalg.fill ins(%zero : f32) outs(%e : tensor<16x40xf32>) -> tensor<16x40xf32>
      %y = linalg.matmul ins(%x, %w : tensor<16x48xf32>, tensor<48x40xf32>) outs(%f : tensor<16x40xf32>)
          -> tensor<16x40xf32>
      return %y : tensor<16x40xf32>
    }"""
    x = np.random.default_rng(1).standard_normal((16, 48)).astype(np.float32)
    _, (y,) = _run(text, {"w": weight}, [x], target, tmp_path, flags=STOCK_FLAGS)
    np.testing.assert_allclose(y, x @ weight, rtol=1e-4, atol=1e-4)


def _main(body, result="%x"):
    return (
        f"{_FILL}\nfunc.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {{\n{body}\nreturn {result} : tensor<4xf32>\n}}"
    )


def _signature(first, last="%y: memref<4x4xf32>, ", place="%i: index, %j: index, %l: index"):
    return _kernel("", f"{first}, {last}{place}")


def _kernel(body, arguments="%x: memref<4xf32>, %y: memref<4x4xf32>, %i: index, %j: index, %l: index"):
    kernel = f"func.func private @k({arguments}) attributes {{sparsity.kernel}} {{\n{body}\nreturn\n}}\n"
    return kernel + _main(_dispatch("p", "x", 4, kernel="k"))


_WEIGHT = '%w = "sparsity.weight"() {{source = "{}"}} : () -> {}\n%y = arith.addf %x, {} : tensor<4xf32>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_main(_dispatch("p", "x", 4, kernel="gone")), "calls the kernel '@gone', .* it defines @fill"),
        (_signature("%x: memref<4xf32>", last=""), "gives @k 2 tensors, which takes 1"),
        (_signature("%x: memref<5xf32>"),
         "gives @k tensor<4xf32> as argument 0, which takes memref<5xf32>"),
        (_signature("%x: memref<4xi32>"), "which takes memref<4xi32>"),
        (_signature("%x: memref<4xf32>", place="%i: index"), "last three arguments are not of type index"),
        (_signature("%x: tensor<4xf32>"), "a memref is accepted"),
        (_signature("%x: memref<4xf32, strided<[2]>>"), "has a layout"),
        (_kernel("%c = arith.constant 0.0 : f32\nmemref.store %c, %x[%i] : memref<4xf32>"),
         "'memref.store' op writes to operand 0 of the kernel '@k'"),
        (_kernel("%c = memref.alloc() : memref<4xf32>"), "'memref.alloc' op is not accepted in a kernel"),
        (_kernel("return\n^bb1:"), "is a kernel of 2 blocks"),
        (_main("%s = shape.const_shape [1] : tensor<1xindex>"), "'shape.const_shape' op is not accepted"),
        (_main('%p = "sparsity.add"(%x, %x) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>'),
         "'sparsity.add' op is not accepted in a module for IREE"),
        (_main(_WEIGHT.format("gone", "tensor<4xf32>", "%w"), "%y"), "names the weight 'gone', which the weight store"),
        (_main(_WEIGHT.format("three", "tensor<4xf32>", "%w"), "%y"), r"holds 'three' as float32 of shape \[3\]"),
        (_main(_WEIGHT.format("double", "tensor<4xf32>", "%w"), "%y"), "holds 'double' as float64"),
        ("func.func @main(%x: f32) -> f32 {\nreturn %x : f32\n}", "has the input 0 of type f32; tensors of"),
    ],
)  # fmt: skip
def test_refused(text, message):
    weights = {"three": np.zeros(3, np.float32), "double": np.zeros(4)}
    with pytest.raises(AssemblyError, match=message) as error:
        assemble(parse(text), weights)
    assert "\n" not in str(error.value)


def test_an_error_names_its_line():
    with pytest.raises(AssemblyError, match=r"^\S+:\d+:\d+: 'shape.const_shape' op"):
        assemble(parse(_main("%s = shape.const_shape [1] : tensor<1xindex>")), {})


def test_a_failure_of_the_compiler_is_one_sentence(target, tmp_path):
    from secateur.runtime_targets.iree import Assembly

    wrong = Assembly("func.func @main() -> i32 { return }", {})
    with pytest.raises(CompilationError, match="IREE's compiler failed for target 'host-cpu': ") as error:
        compile_assembly(wrong, target, log=tmp_path / "log")
    assert "\n" not in str(error.value)
    assert "func.func @main" in (tmp_path / "log").read_text()
    assert "error:" in error.value.log


def test_parameters_that_cannot_be_written(tmp_path):
    with pytest.raises(ParameterError, match="cannot be written"):
        write_parameters(tmp_path / "no" / "folder.irpa", {"w": np.zeros(4, np.float32)})
    with pytest.raises(ParameterError, match=r"the parameter 'w' \(object\) cannot be stored"):
        write_parameters(tmp_path / "w.irpa", {"w": np.array([None])})
