"""`secateur inspect --fusion`: what is fused, what is not and why, as a table and as JSON."""

import pytest


@pytest.fixture
def report(secateur, pruned_folder):
    return secateur("inspect", pruned_folder, "--fusion", "--seq-len", "16", "--json").json


def test_sites_say_what_they_took_and_saved(report):
    sites = {site["id"]: site for site in report["sites"]}
    residual = sites["residual:encoder.layer.0.output.dense"]
    assert residual["variant"] == residual["default"] == "into-linear"
    assert residual["variants"] == ["into-linear", "into-layer-norm", "separate"]
    assert residual["intermediate_bytes"] == 16 * 32 * 4
    assert sites["qkv:encoder.layer.0.attention.self"]["variant"] == "merged"
    assert sites["activation:encoder.layer.0.intermediate.dense"]["intermediate_bytes"] == 16 * 64 * 4


def test_every_edge_has_classes_and_a_reason(report):
    edges = {edge["name"]: edge for edge in report["edges"]}
    assert all(edge["reason"] for edge in report["edges"])
    fused = edges["encoder.layer.0.intermediate.dense -> activation"]
    assert (fused["fused"], fused["producer_class"], fused["consumer_class"]) == (True, "many-to-many", "one-to-one")
    assert (fused["verdict"], fused["fused_class"]) == ("fuse", "many-to-many")
    apart = edges["attention -> encoder.layer.0.attention.output.dense"]
    assert (apart["fused"], apart["verdict"]) == (False, "never")
    assert apart["reason"] == "many-to-many after many-to-many: never profitable"
    # The activation alone would fuse with its reader; as a part of the linear before it, it does not.
    assert edges["activation -> encoder.layer.0.output.dense"]["verdict"] == "fuse"
    assert edges["activation -> encoder.layer.0.output.dense"]["reason"].startswith("many-to-many after many-to-many")


def test_rewrites_are_listed_with_their_property_and_rounding(report):
    rewrites = {r["name"]: r for r in report["rewrites"]}
    assert rewrites["constants-folded"]["property"] == "distributive"
    assert not rewrites["identities-removed"]["rounds"]


def test_a_plan_changes_the_report(secateur, pruned_folder):
    arguments = ("inspect", pruned_folder, "--fusion", "--seq-len", "16", "--plan", "residual=separate", "--json")
    report = secateur(*arguments).json
    assert {s["variant"] for s in report["sites"] if s["kind"] == "residual"} == {"separate"}
    reasons = {e["reason"] for e in report["edges"] if e["consumer"] == "sparsity.add"}
    assert "'separate' was chosen; 'into-linear' would fuse it" in reasons


def test_the_table_names_variants_and_reasons(secateur, pruned_folder):
    out = secateur("inspect", pruned_folder, "--fusion", "--seq-len", "16").out
    assert "residual:encoder.layer.*.output.dense" in out
    assert "many-to-many after many-to-many: never profitable" in out
    assert "Intermediate tensors that are not stored:" in out


def test_bad_plans_are_usage_or_sentences(secateur, pruned_folder):
    result = secateur("inspect", pruned_folder, "--plan", "residual=separate")
    assert (result.code, "--plan needs --fusion" in result.err) == (2, True)
    result = secateur("inspect", pruned_folder, "--fusion", "--plan", "residual=merged")
    assert result.code == 2
    assert "accepted: into-linear, into-layer-norm, separate" in result.err
