"""Few tokens, rows for lanes: any mask, any shape, any vector width computes activation(x @ W.T + b) + residual."""

import ctypes
import mmap

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.compiler.pipeline.passmanager import run_pipeline
from secateur.compiler.semantics import engine
from secateur.compiler.semantics.evaluation import evaluate
from secateur.passes.base import PassContext, walk
from secateur.passes.scheduled import sparsity_pack_rows
from secateur.passes.scheduled.row_slices import cheapest_form, fill, forms, window_forms
from secateur.passes.target import TargetDescription
from secateur.runtime_targets import get_target, iree

PACKED = "sparsity-pack-rows"
KERNELS = f"{PACKED},convert-sparsity-to-kernels"
MASKS = ["dense", "zero", "unstructured", "rows", "nm", "band4", "band16", "bcr", "block", "one"]


def known_forms(keep, number, lanes, tokens=1):
    """Every form of a layer: those with windows last, in the columns' own order (where it has enough) and dealt out."""
    windows = window_forms(keep, lanes, tokens) if lanes == 16 and keep.any() else []
    return [*forms(keep, number, lanes), *windows]


def mask(scheme, shape, rng):
    """A mask of each scheme, drawn at random; blocks at the edges are smaller."""
    rows, columns = shape
    keep = np.ones(shape, dtype=bool)
    if scheme == "zero":
        return ~keep
    if scheme == "one":
        keep[:] = False
        keep[rng.integers(rows), rng.integers(columns)] = True
    elif scheme == "unstructured":
        keep = rng.random(shape) < 0.2
    elif scheme == "rows":
        keep &= rng.random((rows, 1)) < 0.5
    elif scheme == "nm":
        keep = np.argsort(rng.random(shape), axis=1) % 4 == 0
    elif scheme != "dense":
        height, width = {"band4": (4, 1), "band16": (16, 1), "bcr": (4, 8), "block": (1, 8)}[scheme]
        for i in range(0, rows, height):
            for j in range(0, columns, width):
                block = keep[i : i + height, j : j + width]
                block[:, rng.random(block.shape[1]) < 0.6] = False
                if width > 1:
                    block[rng.random(block.shape[0]) < 0.5] = False
    return keep


class Layer:
    """One linear layer, its arrays and what it has to compute."""

    def __init__(self, scheme, rows, columns, leading, options, seed=0):
        rng = np.random.default_rng(seed)
        self.options = options
        self.weight = (rng.standard_normal((rows, columns)) * mask(scheme, (rows, columns), rng)).astype(np.float32)
        self.bias = rng.standard_normal(rows).astype(np.float32)
        self.x = rng.standard_normal((*leading, columns)).astype(np.float32)
        self.residual = rng.standard_normal((*leading, rows)).astype(np.float32)

    def text(self):
        o = self.options
        x, y = (f"tensor<{'x'.join(map(str, a.shape))}xf32>" for a in (self.x, self.residual))
        w, b = (f"tensor<{'x'.join(map(str, a.shape))}xf32>" for a in (self.weight, self.bias))
        names, types = ["%x", "%w", "%b", "%r"], [x, w, b, y]
        present = [1, 1, int(o.get("bias", True)), int(o.get("residual", True))]
        fields = {"row_tile": 4, "token_vectors": o.get("block", 3), "workgroups": 3, "row_vectors": o["row_vectors"]}
        if "unroll" in o:
            fields["unroll"] = o["unroll"]
        gather = ", gather = 1 : i64" if "gather" in o else ""
        schedule = ", ".join(f"{name} = {value} : i64" for name, value in fields.items())
        return f"""
        module attributes {{sparsity.target = #sparsity.target<{{vector_bytes = {4 * o["lanes"]} : i64,
                            registers = 16 : i64{gather}}}>}} {{
          func.func @main(%x: {x}, %r: {y}) -> {y} {{
            %w = "sparsity.weight"() {{source = "w"}} : () -> {w}
            %b = "sparsity.weight"() {{source = "b"}} : () -> {b}
            %y = "sparsity.linear"({", ".join(n for n, p in zip(names, present, strict=True) if p)})
              {{sparsity.schedule = #sparsity.schedule<{{{schedule}}}>, activation = "{o.get("activation", "relu")}",
                operandSegmentSizes = array<i32: {", ".join(map(str, present))}>}}
              : ({", ".join(t for t, p in zip(types, present, strict=True) if p)}) -> {y}
            return %y : {y}
          }}
        }}"""

    def expected(self):
        y = self.x.astype(np.float64) @ self.weight.T.astype(np.float64)
        y = y + self.bias if self.options.get("bias", True) else y
        y = np.maximum(y, 0) if self.options.get("activation", "relu") == "relu" else y
        return y + self.residual if self.options.get("residual", True) else y

    def check(self, found):
        expected = self.expected()
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())

    def lowered(self, pipeline, form=None):
        """The module after `pipeline`, and its weights; call inside a context.

        `form`: which of `known_forms` is packed, None for the cheapest.
        """
        context = PassContext()
        context.weights["w"], context.weights["b"] = self.weight, self.bias
        module = ir.Module.parse(self.text())
        with pytest.MonkeyPatch.context() as patch:
            if form is not None:

                def chosen(keep, number, tokens, target):
                    known = known_forms(keep, number, target.vector_bytes // 4, tokens)
                    return known[form % len(known)]

                patch.setattr(sparsity_pack_rows, "cheapest_form", chosen)
            run_pipeline(module, pipeline, context)
        return module, context


OPTIONS = st.fixed_dictionaries(
    {"lanes": st.sampled_from([4, 8, 16]), "row_vectors": st.integers(1, 4)},
    optional={
        "bias": st.just(False),
        "residual": st.just(False),
        "activation": st.just("none"),
        "unroll": st.integers(1, 4),
        "block": st.integers(1, 8),
        "gather": st.just(1),
    },
)
SIZES = st.integers(1, 70)
LEADING = st.sampled_from([(1, 1), (1, 2), (2, 3), (1, 7), (8, 1), (5,), ()])


@pytest.mark.parametrize("pipeline", [PACKED, f"{PACKED},convert-sparsity-to-linalg"], ids=["packed", "linalg"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(MASKS), SIZES, SIZES, LEADING, OPTIONS, st.integers(0, 99))
def test_packed_layers(pipeline, scheme, rows, columns, leading, options, seed):
    layer = Layer(scheme, rows, columns, leading, options, seed)
    with make_context(), ir.Location.unknown():
        module, context = layer.lowered(pipeline)
        assert not walk(module, "sparsity.linear")
        (found,) = evaluate(module, [layer.x, layer.residual], context.weights)
    layer.check(found)


_libc = ctypes.CDLL(None, use_errno=True)
_guarded_pages = []


def guarded(array):
    """A copy that ends where a page begins that nobody may touch: one element too far ends the process."""
    pages = -(-max(1, array.nbytes) // mmap.PAGESIZE)
    memory = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    guard = ctypes.c_void_p(address + pages * mmap.PAGESIZE)
    assert _libc.mprotect(guard, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    _guarded_pages.append(memory)
    start = pages * mmap.PAGESIZE - array.nbytes
    copy = np.frombuffer(memory, np.uint8, array.nbytes, start).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(MASKS), SIZES, SIZES, LEADING, OPTIONS, st.integers(-2, 9), st.integers(0, 99))
@example("unstructured", 37, 29, (1, 7), {"lanes": 16, "row_vectors": 2}, -1, 1)
@example("unstructured", 37, 40, (1, 7), {"lanes": 16, "row_vectors": 2, "block": 2}, -1, 1)
@example("bcr", 37, 40, (2, 3), {"lanes": 16, "row_vectors": 2}, -2, 1)
@example("unstructured", 37, 40, (1, 7), {"lanes": 16, "row_vectors": 2, "gather": 1}, -3, 1)
@example("unstructured", 37, 40, (1, 7), {"lanes": 16, "row_vectors": 2}, -3, 1)
@example("bcr", 37, 29, (2, 3), {"lanes": 4, "row_vectors": 2}, -2, 1)
@example("dense", 3, 5, (1, 1), {"lanes": 16, "row_vectors": 4}, 0, 1)
@example("band4", 33, 40, (1, 2), {"lanes": 8, "row_vectors": 3, "unroll": 4}, 1, 1)
def test_kernels_stay_inside_their_arrays(scheme, rows, columns, leading, options, form, seed):
    layer = Layer(scheme, rows, columns, leading, options, seed)
    with pytest.MonkeyPatch.context() as patch, make_context(), ir.Location.unknown():
        patch.setattr(engine, "_aligned", guarded)
        module, context = layer.lowered(KERNELS, form)
        assert walk(module, "sparsity.dispatch")
        (found,) = evaluate(module, [layer.x, layer.residual], context.weights)
    layer.check(found)


@pytest.mark.parametrize(
    ("scheme", "rows", "columns", "leading", "options", "form"),
    [
        ("unstructured", 100, 70, (1, 3), {"lanes": 16, "row_vectors": 4}, -3),
        ("unstructured", 100, 70, (1, 3), {"lanes": 16, "row_vectors": 4, "gather": 1}, -3),
        ("unstructured", 100, 70, (1, 3), {"lanes": 16, "row_vectors": 4}, -2),
        ("bcr", 61, 70, (2, 2), {"lanes": 16, "row_vectors": 2}, -1),
        ("one", 20, 7, (1, 1), {"lanes": 16, "row_vectors": 1}, -1),
        ("nm", 33, 70, (1, 2), {"lanes": 8, "row_vectors": 1}, -2),
        ("nm", 33, 70, (1, 2), {"lanes": 8, "row_vectors": 1, "gather": 1}, -2),
        ("unstructured", 30, 50, (1, 2), {"lanes": 4, "row_vectors": 2}, -1),
        ("bcr", 61, 70, (1, 8), {"lanes": 8, "row_vectors": 2}, None),
        ("band4", 64, 33, (1, 3), {"lanes": 16, "row_vectors": 4}, None),
        ("dense", 97, 40, (2, 2), {"lanes": 4, "row_vectors": 3, "unroll": 2}, None),
        ("rows", 50, 24, (1, 5), {"lanes": 16, "row_vectors": 1, "bias": False, "residual": False}, None),
        ("zero", 20, 7, (1, 1), {"lanes": 16, "row_vectors": 1}, None),
    ],
)
def test_through_iree(tmp_path, scheme, rows, columns, leading, options, form):
    layer = Layer(scheme, rows, columns, leading, options)
    with make_context(), ir.Location.unknown():
        module, context = layer.lowered(f"{KERNELS},canonicalize,cse", form)
        assembly = iree.assemble(module, context.weights)
    code = iree.compile_assembly(assembly, get_target("host-cpu", workers=1))
    iree.write_parameters(tmp_path / "weights.irpa", assembly.parameters)
    (found,) = iree.Session(code, tmp_path / "weights.irpa").run([layer.x, layer.residual])
    layer.check(found)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(MASKS), SIZES, SIZES, st.integers(1, 4), st.sampled_from([4, 8, 16]), st.integers(0, 99))
def test_every_form_holds_the_weight(scheme, rows, columns, number, lanes, seed):
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((rows, columns)).astype(np.float32) * mask(scheme, (rows, columns), rng)
    for form in known_forms(weight != 0, number, lanes):
        packed = fill(weight, form)
        if form.windows is not None:
            # As the kernel reads them.
            at = np.repeat(packed.starts, len(packed.columns) // len(packed.starts))[:, None] + packed.columns
            packed.columns = at if packed.order is None else packed.order[at]
        found = np.zeros_like(weight)
        height = form.rows.shape[1]
        for s, members in enumerate(packed.rows):
            part = np.zeros((height, columns), np.float32)
            for k in range(packed.offsets[s], packed.offsets[s + 1]):
                for i in range(height):
                    part[i, packed.columns[k, i * form.lists // height]] += packed.values[k, i]
            found[members] = part
            if form.consecutive:
                ahead = members.reshape(-1, form.vector_rows)
                assert (np.minimum(ahead[:, :1] + np.arange(form.vector_rows), rows - 1) == ahead).all()
        np.testing.assert_array_equal(found, weight)


def test_padding_of_independent_rows_and_columns_is_small():
    rng = np.random.default_rng(0)
    keep = mask("bcr", (768, 768), rng)
    gathered = min(f.steps.sum() * f.rows.shape[1] for f in forms(keep, 4, 16) if f.lists == f.rows.shape[1])
    assert gathered <= 1.05 * np.count_nonzero(keep)


def test_a_band_that_a_vector_holds_is_not_padded_and_has_one_list():
    keep = mask("band16", (96, 40), np.random.default_rng(0))
    best = cheapest_form(keep, 2, 1, TargetDescription(vector_bytes=64))
    assert best.lists < best.rows.shape[1] and best.vector_rows == 16
    exact = min(f.steps.sum() * f.rows.shape[1] for f in forms(keep, 1, 16) if f.lists == 1)
    assert exact == np.count_nonzero(keep)


@pytest.mark.parametrize(("scheme", "padding"), [("bcr", 0.45), ("unstructured", 0.45), ("nm", 0.1)])
def test_rows_rarely_wait_for_a_window(scheme, padding):
    keep = mask(scheme, (768, 768), np.random.default_rng(0))
    form = min(window_forms(keep, 16, 1), key=lambda form: form.steps.sum())
    assert form.steps.sum() * 16 <= (1 + padding) * np.count_nonzero(keep)


def test_dealt_columns_spread_the_blocks():
    keep = mask("bcr", (768, 768), np.random.default_rng(0))
    natural, dealt = (form.steps.sum() for form in window_forms(keep, 16, 1))
    assert dealt < 0.85 * natural


def test_the_target_decides_how_columns_are_read():
    target = {"vector_bytes": 64}
    blocks = cheapest_form(mask("bcr", (768, 768), np.random.default_rng(0)), 4, 1, TargetDescription(**target))
    assert blocks.windows is not None and blocks.windows.order is not None
    # Hardly a weight in a window, and a gather that pays: nothing waits there.
    few = np.random.default_rng(0).random((768, 768)) < 0.02
    gathered = cheapest_form(few, 4, 1, TargetDescription(**target, gather=1))
    assert gathered.windows is None and gathered.lists == gathered.rows.shape[1]
    for narrow in ({"vector_bytes": 32, "registers": 16}, {"vector_bytes": 16}):
        assert cheapest_form(few, 4, 1, TargetDescription(**narrow)).windows is None


def test_copies_of_x_fit_the_scratch_memory():
    keep = mask("unstructured", (32, 9000), np.random.default_rng(0))
    assert [form.windows.order is not None for form in window_forms(keep, 16, 1)] == [False]


def test_wide_layers_have_columns_of_32_bits():
    weight = np.zeros((4, (1 << 15) + 1), np.float32)
    weight[2, -1] = 1.0
    for form in forms(weight != 0, 1, 4):
        packed = fill(weight, form)
        assert packed.columns.dtype == np.int32
        assert (1 << 15) in packed.columns
    (form,) = window_forms(weight != 0, 16, 1)
    assert fill(weight, form).starts.dtype == np.int32
