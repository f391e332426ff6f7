"""Counts of candidates on an emulated CPU: exactly those of the whole model, and limits in their unit."""

import shutil

import pytest
import torch
import transformers
import typer

from secateur.commands.search_limits import check_measured_target, limits_of
from secateur.compression.latency.errors import LatencyError
from secateur.compression.search.latency import predictor_of
from secateur.compression.search.latency.cells import FIXED, Cell
from secateur.compression.search.latency.counted import CountPredictor

TARGET = "qemu:cortex-a76"
needs_qemu = pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="needs qemu-aarch64 (Debian: qemu-user)")


@pytest.fixture(scope="module")
def dense():
    torch.manual_seed(0)
    config = transformers.BertConfig(
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=128,
        vocab_size=60,
        max_position_embeddings=40,
    )
    return transformers.BertForQuestionAnswering(config).eval()


@needs_qemu
def test_a_sum_of_counts_is_the_count_of_the_whole(dense, tmp_path):
    stages = []
    predictor = predictor_of(dense, TARGET, tokens=32, cache=tmp_path, progress=stages.append)
    assert isinstance(predictor, CountPredictor)
    candidate = {
        "layer.1": False,
        "heads.0": 3,
        "ffn.2": 64,
        "rate.0.ffn_in": 0.75,
        "scheme.0.ffn_in": "bcr 4x1",
    }
    found = predictor.predict(candidate)
    whole = predictor.time_whole(predictor.compiled(candidate))
    assert found.cost == pytest.approx(whole.cost, rel=0.02)
    assert whole.cost == predictor.time_whole(predictor.compiled(candidate)).cost
    assert predictor.predict({}).ratio == 1.0 and 0.3 < found.ratio < 0.65
    assert found.cells[FIXED] > 0 and found.cells[Cell("ffn_in", 128, "bcr 4x1", 0.75)] < 0
    # All of it is on record, for whoever asks next.
    del stages[:]
    assert predictor_of(dense, TARGET, tokens=32, cache=tmp_path, progress=stages.append).predict(candidate) == found
    assert not stages


def test_what_cannot_be_counted_is_a_sentence(dense):
    with pytest.raises(LatencyError, match="is counted on one thread, found 2"):
        predictor_of(dense, TARGET, threads=2)


def test_limits_have_the_unit_of_the_target():
    assert limits_of("3ms, 4", "host-cpu") == ("latency_ms", [3.0, 4.0])
    assert limits_of(None, TARGET) == ("instructions", [])
    assert limits_of("300Minstructions,1.5 G instructions, 12instructions", TARGET) == (
        "instructions",
        [3e8, 1.5e9, 12],
    )
    for text in ("3ms", "300M", "0instructions", "4minstructions"):
        with pytest.raises(typer.BadParameter, match="is counted, and no time is known: a limit is a number of instr"):
            limits_of(text, TARGET)
    with pytest.raises(typer.BadParameter, match="'host-cpu' is timed: a limit is a duration such as 3ms"):
        limits_of("300Minstructions", "host-cpu")
    with pytest.raises(typer.BadParameter):
        check_measured_target("qemu:cortex-a7600", 1)
