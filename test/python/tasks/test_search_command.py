"""`secateur search` on a small model and task."""

import json
import shutil

import pytest
from safetensors.numpy import load_file, save_file


@pytest.fixture
def searched(secateur, qa_folder, squad_path, tmp_path, monkeypatch):
    """Runs the command with a latency, a space and a folder of its own."""
    monkeypatch.setenv("SECATEUR_RECORDS", str(tmp_path / "records"))

    def run(*more, latency="1s,1ns", space="uniform"):
        limits = latency.replace("1ns", "0.000001ms")
        arguments = [str(qa_folder), "--data", str(squad_path), "--space", space, "--latency", limits]
        return secateur("search", *arguments, "-o", str(tmp_path / "found"), "--seq-len", "48", *more)

    return run


def test_searches_reports_and_goes_on(searched, secateur, qa_folder, tmp_path):
    done = searched("--candidates", "3", "--train", "none", "--controller", "random", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    first, second = found["winners"]
    assert found["candidates"] == 3 and first["goal"] == "error, latency_ms <= 1000"
    figures = first["figures"]
    assert {"error", "f1_sample", "bundle_bytes"} <= figures.keys() and "f1" not in figures
    assert figures["latency_ms"] > 0 and figures["measured_ms"] > 0
    assert (tmp_path / "found" / "report.html").exists() and first["bundle"]
    # What no candidate keeps is told, with the fastest.
    assert second["missed"].startswith("no candidate has latency_ms <= 1e-06: the least of 3 is ")
    # Again: nothing is left to do; more candidates: it goes on.
    again = searched("--candidates", "3", "--train", "none", "--controller", "random", "--json")
    assert json.loads(again.out)["winners"] == found["winners"]
    report = secateur("search", "--report", str(tmp_path / "found"), "--reference", "LiteRT=2ms,error=0", "--json")
    assert report.code == 0, report.err
    assert "LiteRT" in (tmp_path / "found" / "report.html").read_text()
    assert (tmp_path / "found" / "optuna.log").exists()
    other = searched("--candidates", "3", "--train", "none", "--controller", "genetic")
    assert other.code == 2 and "its controller is random, found genetic" in other.err
    # Figures of other weights do not go into the same journal, however alike the models are.
    weights = load_file(qa_folder / "model.safetensors")
    save_file({name: value * 1.5 for name, value in weights.items()}, qa_folder / "model.safetensors")
    try:
        other = searched("--candidates", "3", "--train", "none", "--controller", "random")
    finally:
        save_file(weights, qa_folder / "model.safetensors", {"format": "pt"})
    assert other.code == 2 and "its weights is" in other.err


@pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="needs qemu-aarch64 (Debian: qemu-user)")
def test_instructions_are_counted_on_an_emulated_cpu(searched):
    options = ["--candidates", "2", "--train", "none", "--controller", "random", "--target", "qemu:cortex-a76"]
    done = searched(*options, "--json", latency="1Ginstructions", space="embeddings")
    assert done.code == 0, done.err
    (winner,) = json.loads(done.out)["winners"]
    assert winner["goal"] == "error, instructions <= 1e+09"
    figures = winner["figures"]
    assert figures["measured_instructions"] == pytest.approx(figures["instructions"], rel=0.05)
    assert figures["bundle_bytes"] > 0 and not [name for name in figures if name.endswith("_ms")]


@pytest.mark.parametrize(
    "more, words",
    [
        (["--candidates", "1", "--space", "nothing"], "unknown space 'nothing'"),
        (["--candidates", "1", "--controller", "nothing"], "there is no controller 'nothing'"),
        (["--candidates", "1", "--task", "nothing"], "there is no task 'nothing'"),
        (["--candidates", "1", "--target", "nothing"], "nothing"),
        (["--candidates", "1", "--latency", "soon"], "found 'soon'"),
        (["--candidates", "1", "--latency", "3Minstructions"], "'host-cpu' is timed"),
        (["--candidates", "1", "--target", "qemu:cortex-a76", "--latency", "3ms"], "is counted, and no time is known"),
        (["--candidates", "1", "--train", "long"], "found 'long'"),
        ([], "give a time"),
        (["--report", "nowhere"], "there is no search in 'nowhere'"),
        (["--reference", "LiteRT"], "found 'LiteRT'"),
    ],
)
def test_what_cannot_be_searched_is_a_sentence(searched, more, words):
    done = searched(*more)
    assert done.code == 2 and words in done.err, done.err
    assert "Traceback" not in done.err


def test_a_model_that_is_not_trained_on_the_task_is_refused(qa_folder):
    from secateur.compression.search.evaluation.workbench import loaded
    from secateur.frontends import FrontendError

    with pytest.raises(FrontendError, match=r"has no weights for .*classifier"):
        loaded(str(qa_folder), "sentiment", None)
