"""The table: from a model's layers to figures, measured once."""

import io
import itertools
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from secateur.compression.latency import LatencyError, measure_table
from secateur.compression.latency.measure import latency_folder
from secateur.compression.latency.place import place_of
from secateur.compression.latency.plan import plan
from secateur.compression.latency.shapes import model_layers
from secateur.compression.latency.synthetic import Variant, synthetic_weight, write_layers
from secateur.compression.prune import parse_scheme
from secateur.dialects.number_formats import format_of
from secateur.frontends import import_model

COLUMNS, BLOCKS = parse_scheme("bcr", "8x1"), parse_scheme("bcr", "4x16")


def small_bert(layers=2, hidden=64):
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    size = {"hidden_size": hidden, "num_attention_heads": 2, "intermediate_size": 4 * hidden, "vocab_size": 50}
    return BertModel(BertConfig(num_hidden_layers=layers, max_position_embeddings=32, **size)).eval()


def inputs(tokens=32):
    ids = torch.arange(tokens).reshape(1, tokens)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.fixture(scope="module")
def bert_layers(tmp_path_factory):
    module = small_bert()
    names = [n for n, m in module.named_modules() if isinstance(m, torch.nn.Linear) and "pooler" not in n]
    imported = import_model(module, inputs())
    folder = tmp_path_factory.mktemp("layers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECATEUR_RECORDS", str(folder / "records"))
        return model_layers(imported, place_of("host-cpu"), names, folder)


def made_up(calls):
    """A measurer: a dense layer costs 1 per row, others what they keep of that."""

    def measure(shape, variants):
        calls.append((shape.key, [v.sparsity for v in variants]))
        return [
            {"cost": shape.rows * (1 - v.sparsity), "ratio": 1 - v.sparsity, "min_ratio": 1 - v.sparsity}
            for v in variants
        ]

    return measure


def test_layers_are_those_of_the_fused_model(bert_layers):
    labels = [shape.label for shape in bert_layers.shapes.values()]
    assert labels == ["192 x 64 (3 merged)", "64 x 64 + residual", "256 x 64 + gelu", "64 x 256 + residual"]
    assert [bert_layers.count(key) for key in bert_layers.shapes] == [2, 2, 2, 2]
    merged = bert_layers.sites[0]
    assert [name.rpartition(".")[2] for name in merged.modules] == ["query", "key", "value"]
    assert bert_layers.shapes[merged.shape].parts == (64, 64, 64)
    assert bert_layers.left_out == ()


def test_a_merged_layer_that_is_not_pruned_as_a_whole_is_left_out(tmp_path):
    module = small_bert(layers=1)
    imported = import_model(module, inputs())
    names = ["encoder.layer.0.attention.self.query", "encoder.layer.0.output.dense"]
    found = model_layers(imported, place_of("host-cpu"), names, tmp_path)
    assert [site.modules for site in found.sites] == [("encoder.layer.0.output.dense",)]
    assert found.left_out == ("encoder.layer.0.attention.self.query",)


def test_synthetic_weights_have_the_zeros_of_their_block(bert_layers):
    merged = bert_layers.shapes[bert_layers.sites[0].shape]
    weight = synthetic_weight(merged, Variant(COLUMNS, 0.75), 0)
    assert weight.shape == (192, 64)
    for part in np.split(weight, 3):
        assert np.mean(part == 0) == pytest.approx(0.75)
        units = (part.reshape(8, 8, 64) == 0).sum(axis=1)
        assert set(np.unique(units)) == {0, 8}
    assert not (synthetic_weight(merged, Variant(), 0) == 0).any()


def test_a_synthetic_layer_is_described_as_the_layer_of_a_model(bert_layers, tmp_path):
    """Without its encoding a layer of any block would be timed with the schedule of a dense one."""
    shape = bert_layers.shapes[bert_layers.sites[2].shape]
    variants = [Variant(), Variant(COLUMNS, 0.75), Variant(BLOCKS, 0.5), Variant()]
    text = (write_layers(tmp_path / "case", shape, variants, 0) / "task.mlir").read_text()
    assert re.findall(r"sparsity.encoding = #sparsity.(\w+)<{?(.*?)}?>", text) == [
        ("dense", ""),
        ("bcr", "block_columns = 1 : i64, block_rows = 8 : i64"),
        ("bcr", "block_columns = 16 : i64, block_rows = 4 : i64"),
        ("dense", ""),
    ]


def test_what_is_on_record_is_not_measured_again(bert_layers):
    counts = {key: bert_layers.count(key) for key in bert_layers.shapes}
    place, calls = place_of("host-cpu"), []
    found = measure_table(
        bert_layers.shapes, counts, [COLUMNS, BLOCKS], place, sparsities=(0.5, 0.9), measurer=made_up(calls)
    )
    assert (len(calls), found.measured) == (8, 16)
    assert found.total(COLUMNS, 0.5) == pytest.approx(0.5 * 2 * (192 + 64 + 256 + 64))
    more = measure_table(
        bert_layers.shapes, counts, [COLUMNS, BLOCKS], place, sparsities=(0.5, 0.8, 0.9), measurer=made_up(calls[:0])
    )
    assert more.measured == 8
    assert more.cells.items() >= found.cells.items()
    other = measure_table(bert_layers.shapes, counts, [COLUMNS], place_of("host-cpu", 2), measurer=made_up([]))
    assert other.measured == 4 * 6
    with latency_folder().joinpath(next(f.name for f in latency_folder().glob("*.jsonl"))).open("ab") as file:
        file.write(b'{"torn')
    again = measure_table(
        bert_layers.shapes, counts, [COLUMNS, BLOCKS], place, sparsities=(0.5, 0.9), measurer=made_up([])
    )
    assert (again.measured, again.cells) == (0, found.cells)


def test_a_block_that_fits_no_layer_is_named_and_left_out(bert_layers):
    counts = {key: bert_layers.count(key) for key in bert_layers.shapes}
    wide = parse_scheme("bcr", "128x1")
    found = measure_table(
        bert_layers.shapes, counts, [COLUMNS, wide], place_of("host-cpu"), sparsities=(0.5,), measurer=pruning_measurer
    )
    assert found.schemes == [COLUMNS]
    assert "192 x 64 (3 merged): the block of 'bcr 128x1' exceeds the weight, which is 64x64" in found.failed[wide]
    with pytest.raises(LatencyError, match="no block can be measured: 192 x 64"):
        measure_table(bert_layers.shapes, counts, [wide], place_of("host-cpu"), measurer=pruning_measurer)


def pruning_measurer(shape, variants):
    for variant in variants:
        synthetic_weight(shape, variant, 0)
    return made_up([])(shape, variants)


def test_wrong_arguments_are_told():
    module = small_bert(layers=1)
    for wrong, text in (
        ({"target_latency_ms": 0.0}, "above 0 ms, found 0"),
        ({"sparsity": 1.0}, "above 0 and below 1, found 1"),
        ({"scheme": "punched"}, "found 'punched'"),
        ({"blocks": []}, "at least one block"),
        ({"threads": 2, "target": "qemu:cortex-a76"}, "one thread, found 2"),
    ):
        with pytest.raises(LatencyError, match=text):
            plan(module, example_inputs=inputs(), **wrong)


def test_a_small_model_is_measured_here_and_its_plan_printed():
    """The dispatches of a case come in the program's order: sparser layers take less of the dense one."""
    model = small_bert(layers=1, hidden=256)
    options = {"blocks": ["16x1"], "sparsities": [0.5, 0.9], "include": ["*intermediate*"]}
    chosen = plan(model, example_inputs=inputs(), sparsity=0.9, **options)
    (key,) = chosen.table.shapes
    half, tenth = (chosen.table.cells[key, chosen.scheme, s].ratio for s in (0.5, 0.9))
    assert 0.02 < tenth < half < 1.5
    assert chosen.rates == {"encoder.layer.0.intermediate.dense": 0.9}
    assert chosen.block == "16x1"
    text = printed(chosen)
    assert "90.0 % of these layers' weights are removed" in text
    assert "*bcr 16x1" in text and "1024 x 256 + gelu" in text and f"({tenth:.2f})" in text
    assert chosen.to_dict()["table"]["shapes"][0]["layers"] == 1
    ample = plan(model, example_inputs=inputs(), target_latency_ms=10_000, **options)
    assert ample.rates == {"encoder.layer.0.intermediate.dense": 0.0}
    assert "the dense model is within the budget: nothing is removed" in printed(ample)


def test_layers_on_bytes_are_timed_on_bytes():
    """The dispatches that round their inputs are none of them."""
    model, numbers = small_bert(layers=1, hidden=256), format_of("int8")
    options = {"blocks": ["4x1"], "sparsities": [0.5, 0.9], "include": ["*intermediate*"], "sparsity": 0.9}
    chosen = plan(model, example_inputs=inputs(), numbers=numbers, **options)
    (key,) = chosen.table.shapes
    half, tenth = (chosen.table.cells[key, chosen.scheme, s].ratio for s in (0.5, 0.9))
    assert 0.02 < tenth < half < 1.5
    assert "int8" in chosen.table.shapes[key].text
    # Records of bytes and of f32 are not taken for each other.
    assert plan(model, example_inputs=inputs(), **options).table.measured == 2


def test_whole_models_are_timed_on_bytes_too(monkeypatch):
    from secateur.compiler import driver

    model, asked, compile_model = small_bert(layers=1, hidden=256), [], driver.compile_model
    monkeypatch.setattr(driver, "compile_model", lambda *a, **k: asked.append(k) or compile_model(*a, **k))
    options = {
        "blocks": ["4x1"],
        "sparsities": [0.5, 0.95],
        "include": ["*intermediate*"],
        "numbers": format_of("int8"),
    }
    with pytest.raises(LatencyError, match="cannot reach"):
        plan(model, example_inputs=inputs(), target_latency_ms=1e-6, **options)
    assert [(k["weights"], k["arithmetic"]) for k in asked] == [("int8", "int8")] * 2


def printed(chosen):
    from rich.console import Console

    from secateur.commands.plan_tables import render

    file = io.StringIO()
    render(chosen, Console(file=file, width=160))
    return file.getvalue()


_PROGRAM = """
import sys, time
sys.path.insert(0, sys.argv[1])
import test_measuring as t
from pathlib import Path
import tempfile
module = t.small_bert()
names = [n for n, m in module.named_modules() if isinstance(m, t.torch.nn.Linear) and "pooler" not in n]
imported, place = t.import_model(module, t.inputs()), t.place_of("host-cpu")
layers = t.model_layers(imported, place, names, Path(tempfile.mkdtemp()))
def slow(shape, variants):
    time.sleep(0.2)
    return t.made_up([])(shape, variants)
counts = {key: 1 for key in layers.shapes}
found = t.measure_table(layers.shapes, counts, [t.COLUMNS, t.BLOCKS], place, measurer=slow)
print(found.measured)
"""


@pytest.mark.slow
def test_a_killed_measurement_goes_on_where_it_was(tmp_path, records_folder):
    command = [sys.executable, "-c", _PROGRAM, str(Path(__file__).parent)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    for _ in itertools.repeat(None, 600):
        if any(f.read_bytes().count(b"\n") >= 12 for f in records_folder.glob("latency/*.jsonl")):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = sum(f.read_bytes().count(b"\n") for f in records_folder.glob("latency/*.jsonl"))
    assert 12 <= kept < 48
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) == 48 - kept
