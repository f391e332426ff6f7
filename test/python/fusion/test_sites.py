"""Fusion sites: what is found, every combination of variants against the reference, and through the kernels."""

import itertools

import numpy as np
import pytest
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.compiler.pipeline.passmanager import PipelineError, run_pipeline
from secateur.compiler.semantics.evaluation import evaluate
from secateur.dialects.weight_store import WeightStore
from secateur.passes.base import PassContext, PassFailure, walk
from secateur.passes.structural.fusion import KINDS, PlanError, apply, fusion_sites, read_plan, simplify, write_plan

TOKENS, FEATURES, WIDE = 16, 16, 32
X = f"tensor<1x{TOKENS}x{FEATURES}xf32>"
TARGET = "sparsity.target = #sparsity.target<{vector_bytes = 32 : i64, registers = 16 : i64}>"


# A transformer has no convolution, which alone takes an activation of a sum.
OF_A_TRANSFORMER = [kind for kind in KINDS if kind != "activation-of-sum"]


def store(seed: int = 0) -> WeightStore:
    """Weights of one encoder layer; 60 % of each matrix is zero in bands of four rows."""
    random = np.random.default_rng(seed)
    weights = WeightStore()
    for name, shape in {
        **{f"{n}.weight": (FEATURES, FEATURES) for n in ("query", "key", "value", "output")},
        "up.weight": (WIDE, FEATURES),
        "down.weight": (FEATURES, WIDE),
    }.items():
        keep = np.repeat(random.random((shape[0] // 4, shape[1])) < 0.4, 4, axis=0)
        weights[name] = (random.standard_normal(shape) * keep).astype(np.float32)
        weights[name.replace("weight", "bias")] = random.standard_normal(shape[0]).astype(np.float32)
    for name in ("gamma", "beta"):
        weights[name] = random.standard_normal(FEATURES).astype(np.float32)
    return weights


def linear(result: str, x: str, name: str, rows: int, columns: int) -> str:
    kinds = [f"tensor<1x{TOKENS}x{n}xf32>" for n in (columns, rows)]
    return f"""
      %w{result} = "sparsity.weight"() {{source = "{name}.weight"}} : () -> tensor<{rows}x{columns}xf32>
      %b{result} = "sparsity.weight"() {{source = "{name}.bias"}} : () -> tensor<{rows}xf32>
      %{result} = "sparsity.linear"(%{x}, %w{result}, %b{result}) {{operandSegmentSizes = array<i32: 1, 1, 1, 0>}}
        : ({kinds[0]}, tensor<{rows}x{columns}xf32>, tensor<{rows}xf32>) -> {kinds[1]}"""


def norm(result: str, x: str) -> str:
    return f"""
      %{result} = "sparsity.layer_norm"(%{x}, %gamma, %beta) {{epsilon = 1.0e-5 : f64,
        operandSegmentSizes = array<i32: 1, 1, 1, 0>}} : ({X}, tensor<{FEATURES}xf32>, tensor<{FEATURES}xf32>) -> {X}"""


def layer(pre_norm: bool) -> str:
    """A transformer layer; with `pre_norm` each branch begins with a layer norm, as in GPT-2."""
    n, f, w = f"tensor<1x{TOKENS}x{WIDE}xf32>", FEATURES, WIDE
    first, last = (norm("n1", "x"), "") if pre_norm else ("", norm("n1", "s1"))
    source, middle = ("n1", "s1") if pre_norm else ("x", "n1")
    second = norm("n2", "s1") if pre_norm else ""
    return f"""
    module attributes {{{TARGET}}} {{
      func.func @main(%x: {X}) -> {X} {{
      %gamma = "sparsity.weight"() {{source = "gamma"}} : () -> tensor<{f}xf32>
      %beta = "sparsity.weight"() {{source = "beta"}} : () -> tensor<{f}xf32>
      {first}
      {"".join(linear(n[0], source, n, f, f) for n in ("query", "key", "value"))}
      %a = "sparsity.attention"(%q, %k, %v) {{heads = 2 : i64, kv_heads = 2 : i64, scale = 0.37 : f64, causal = false,
        operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>}} : ({X}, {X}, {X}) -> {X}
      {linear("o", "a", "output", f, f)}
      %s1 = "sparsity.add"(%o, %x) : ({X}, {X}) -> {X}
      {last}
      {second}
      {linear("u", "n2" if pre_norm else "n1", "up", w, f)}
      %g = "sparsity.activation"(%u) {{kind = "gelu"}} : ({n}) -> {n}
      {linear("d", "g", "down", f, w)}
      %s2 = "sparsity.add"(%{middle}, %d) : ({X}, {X}) -> {X}
      {norm("y", "s2")}
      return %y : {X}
      }}
    }}"""


@pytest.fixture(scope="module")
def inputs() -> list[np.ndarray]:
    return [np.random.default_rng(1).standard_normal((1, TOKENS, FEATURES)).astype(np.float32)]


def load(pre_norm: bool) -> tuple[ir.Module, PassContext]:
    context = PassContext(store())
    module = ir.Module.parse(layer(pre_norm), make_context())
    run_pipeline(module, "sparsity-detect", context)
    return module, context


def everything(pre_norm: bool) -> list[dict[str, str]]:
    """Every combination of one variant per kind."""
    kinds = [k for k in OF_A_TRANSFORMER if pre_norm or k != "layer-norm-affine"]
    return [dict(zip(kinds, c, strict=True)) for c in itertools.product(*(KINDS[k].variants for k in kinds))]


@pytest.mark.parametrize("pre_norm", [False, True])
def test_every_plan_computes_the_same(pre_norm, inputs):
    module, context = load(pre_norm)
    expected = evaluate(module, inputs, context.weights)[0]
    texts = set()
    for plan in everything(pre_norm):
        module, context = load(pre_norm)
        with module.context, ir.Location.unknown():
            apply(module, plan, context)
        assert module.operation.verify()
        np.testing.assert_allclose(evaluate(module, inputs, context.weights)[0], expected, rtol=1e-5, atol=2e-6)
        texts.add(str(module))
    # Variants that make no difference would pass unnoticed; of the pre-norm layer only one addition has a layer norm
    # as its sole reader, and the others fall back, which leaves fewer results than plans but far more than one.
    assert len(texts) >= len(everything(pre_norm)) * 2 // 3


@pytest.mark.parametrize(
    "plan",
    ["", *(f"{kind}={variant}" for kind in KINDS for variant in KINDS[kind].variants)],
)
@pytest.mark.parametrize("pipeline", ["kernels", "portable"])
def test_every_variant_reaches_the_kernels(plan, pipeline, inputs):
    module, context = load(pre_norm=True)
    expected = evaluate(module, inputs, context.weights)[0]
    scheduled = {"kernels": "scheduled,scheduled-to-kernels", "portable": "scheduled-token-major,scheduled-to-linalg"}
    fuse = f"sparsity-fuse{{plan={plan}}}" if plan else "sparsity-fuse"
    run_pipeline(module, f"{fuse},{scheduled[pipeline]}", context)
    assert ("sparsity.dispatch" in str(module)) == (pipeline == "kernels")
    np.testing.assert_allclose(evaluate(module, inputs, context.weights)[0], expected, rtol=2e-4, atol=2e-5)


def test_listing_sites_changes_nothing_and_lists_each_kind():
    module, context = load(pre_norm=True)
    before, symbols = str(module), set(context.weights)
    sites = fusion_sites(module, context)
    assert str(module) == before
    assert set(context.weights) == symbols
    assert {s.kind for s in sites} == set(OF_A_TRANSFORMER)
    assert len({s.id for s in sites}) == len(sites)
    assert [s.id for s in sites if s.kind == "residual"] == ["residual:output", "residual:down"]
    for site in sites:
        assert site.default in site.variants
        assert set(site.refused) | set(site.variants) == set(KINDS[site.kind].variants)


def test_the_default_moves_the_fewest_bytes():
    module, context = load(pre_norm=False)
    for site in fusion_sites(module, context):
        most = max(saving.gain() for saving in site.savings.values())
        assert site.savings[site.default].gain() == most
    bands = ir.Attribute.parse("#sparsity.bcr<{block_columns = 1 : i64, block_rows = 4 : i64}>", module.context)
    for op in walk(module, "sparsity.weight"):
        if "sparsity.encoding" in op.attributes:
            op.attributes["sparsity.encoding"] = bands
    taken = {s.kind: s for s in fusion_sites(module, context)}
    size = TOKENS * FEATURES * 4
    assert (taken["residual"].default, taken["residual"].savings["into-linear"].intermediate_bytes) == (
        "into-linear",
        size,
    )
    assert (taken["qkv"].default, taken["qkv"].savings["merged"].moved_bytes) == ("merged", 2 * size)
    assert taken["qkv"].savings["merged-key-value"].moved_bytes == size
    assert taken["activation"].savings["into-linear"].moved_bytes == 2 * TOKENS * WIDE * 4


def test_equal_layers_have_equal_signatures_and_different_ones_do_not():
    module, context = load(pre_norm=True)
    first = {s.id: s.signature for s in fusion_sites(module, context)}
    assert first["residual:output"] != first["residual:down"]
    other, again = load(pre_norm=True)
    assert {s.id: s.signature for s in fusion_sites(other, again)} == first
    # Half the weights gone: another site.
    again.weights["down.weight"] = again.weights["down.weight"] * (np.arange(FEATURES) % 8 < 4)[:, None].astype("f4")
    changed = {s.id: s.signature for s in fusion_sites(other, again)}
    assert {i for i in first if first[i] != changed[i]} == {"residual:down"}


def test_the_most_specific_key_of_a_plan_wins():
    module, context = load(pre_norm=False)
    sites = {s.id: s for s in fusion_sites(module, context)}
    plan = {
        "residual": "separate",
        sites["residual:down"].signature: "into-layer-norm",
        "qkv:": "merged",
        "another model's signature": "merged",
    }
    with module.context, ir.Location.unknown():
        taken = apply(module, plan, context)
    assert taken["residual:output"] == "separate"
    assert taken["residual:down"] == "into-layer-norm"
    assert taken["qkv:query"] == "merged"


def test_a_choice_that_another_choice_made_impossible_gives_way():
    text = layer(pre_norm=False).replace('"sparsity.add"(%n1, %d)', '"sparsity.add"(%n1, %act)')
    activation = f'%act = "sparsity.activation"(%d) {{kind = "relu"}} : ({X}) -> {X}\n      %s2'
    module = ir.Module.parse(text.replace("%s2 =", f"{activation} =", 1), make_context())
    context = PassContext(store())
    with module.context, ir.Location.unknown():
        taken = apply(module, {"activation": "separate", "residual": "into-linear"}, context)
    assert taken["residual:output"] == "into-linear"
    assert taken["residual:down"] == "into-layer-norm"


def test_a_variant_that_is_not_legal_at_the_named_site_is_refused():
    module, context = load(pre_norm=True)
    with module.context, ir.Location.unknown(), pytest.raises(PassFailure) as caught:
        apply(module, {"residual:output": "into-layer-norm"}, context)
    assert "cannot be fused as 'into-layer-norm': the result has 2 readers" in caught.value.message
    with module.context, ir.Location.unknown(), pytest.raises(PassFailure) as caught:
        apply(module, {"residual": "merged"}, context)
    assert "accepted for residual: into-linear, into-layer-norm, separate" in caught.value.message


def test_plans_are_read_from_text_and_files(tmp_path):
    assert read_plan("") == {}
    assert read_plan("residual=separate, qkv:encoder.0=merged") == {"residual": "separate", "qkv:encoder.0": "merged"}
    plan = {"a signature = with, signs": "merged", "residual": "separate"}
    write_plan(tmp_path / "plan.json", plan)
    assert read_plan(str(tmp_path / "plan.json")) == plan
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("residual", "expected a plan of kind=variant"),
        ("residuals=separate", "unknown kind of fusion site 'residuals'; accepted: layer-norm-affine"),
        ("qkv=into-linear", "'qkv' has no fusion variant 'into-linear'; accepted: merged, merged-key-value, separate"),
        ("/nowhere/plan.json", "the fusion plan '/nowhere/plan.json' cannot be read"),
    ],
)
def test_a_bad_plan_is_named(text, message):
    with pytest.raises(PlanError, match=message):
        read_plan(text)
    module, context = load(pre_norm=False)
    with pytest.raises(PipelineError, match="cannot be fused as planned"):
        run_pipeline(module, f'sparsity-fuse{{plan="{text}"}}', context)


def test_a_file_that_is_no_plan_is_named(tmp_path):
    path = tmp_path / "plan.json"
    for text, message in (("[]", "expected .* to hold"), ("{", "is no JSON")):
        path.write_text(text)
        with pytest.raises(PlanError, match=message):
            read_plan(str(path))


def test_different_encodings_merge_under_the_cheaper_one_and_missing_biases_are_zeros(inputs):
    text = layer(pre_norm=False).replace(
        '"sparsity.linear"(%x, %wk, %bk) {operandSegmentSizes = array<i32: 1, 1, 1, 0>}',
        '"sparsity.linear"(%x, %wk) {operandSegmentSizes = array<i32: 1, 1, 0, 0>}',
    )
    lines = text.splitlines()
    place = next(i for i, line in enumerate(lines) if "(%x, %wk)" in line)
    lines[place + 1] = lines[place + 1].replace(", tensor<16xf32>)", ")")
    module, context = ir.Module.parse("\n".join(lines), make_context()), PassContext(store())
    run_pipeline(module, "sparsity-detect", context)
    for op in walk(module, "sparsity.weight"):
        if op.source.value == "key.weight":
            op.attributes["sparsity.encoding"] = ir.Attribute.parse("#sparsity.unstructured<{}>", module.context)
    expected = evaluate(module, inputs, context.weights)[0]
    run_pipeline(module, "sparsity-fuse", context)
    merged = next(op for op in walk(module, "sparsity.weight") if "query.weight+key.weight" in str(op.source))
    assert "#sparsity.bcr<{block_columns = 1 : i64, block_rows = 4" in str(merged.attributes["sparsity.encoding"])
    np.testing.assert_allclose(evaluate(module, inputs, context.weights)[0], expected, rtol=1e-5, atol=2e-6)


def test_fusing_twice_is_fusing_once():
    module, context = load(pre_norm=True)
    run_pipeline(module, "sparsity-fuse", context)
    once = str(module)
    result = run_pipeline(module, "sparsity-fuse", context)
    assert str(module) == once
    assert not any(result.statistics().values())
    with module.context, ir.Location.unknown():
        assert simplify(module, context) == 0
