"""`make demo` on packed checkpoints of a tiny model."""

import shutil

import pytest
from safetensors.torch import load_file

from secateur.applications.question_answering import demo
from secateur.applications.question_answering.packed_checkpoint import save_packed
from secateur.compression.prune import parse_scheme, prune_model


@pytest.fixture(scope="module")
def packed(qa_module, qa_folder, tmp_path_factory):
    """A base folder with a tokenizer, and the files of the dense and of the pruned model."""
    folder = tmp_path_factory.mktemp("packed")
    shutil.copytree(qa_folder, folder / "base")
    base = load_file(folder / "base" / "model.safetensors")
    state = {name: v + (0 if "embeddings" in name else 1) for name, v in base.items()}
    save_packed(qa_module, {n: base[n] if "embeddings" in n else v for n, v in state.items()}, folder / "dense")
    pruned = prune_model(qa_module, parse_scheme("bcr", "4x4"), 0.5)[0]
    save_packed(pruned, base, folder / "pruned", note="pruned for a test")
    return folder


def run(packed, *more, tokens=64):
    arguments = ["--base", packed / "base", "--dense", packed / "dense", "--pruned", packed / "pruned"]
    return demo.main([str(a) for a in (*arguments, "--tokens", tokens, "--rounds", 3, *more)])


def test_the_demo_answers_compares_and_times(packed, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert run(packed, "--keep", tmp_path / "kept", "--question", "Who?", "--question", "When?") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "compiled and PyTorch give the same answers to all questions" in out
    assert "times faster than PyTorch" in out and "3 interleaved runs" in out
    assert "pruned: 49% of the weights" in out or "pruned: 50% of the weights" in out
    assert "pruned for a test" in out
    for name in ("dense.bundle", "pruned.bundle"):
        assert (tmp_path / "kept" / name / "manifest.json").is_file()
    assert run(packed, "--keep", tmp_path / "kept") == 1
    assert "holds files" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda logits: 1.001 * logits, "logits differ by 1.00e-03, accepted is 1e-04"),
        (lambda logits: -logits, "answers 'Who built it\\?' with '.*', and in PyTorch with '"),
    ],
)
def test_other_numbers_than_pytorchs_fail_the_demo(reader, change, sentence):
    from rich.console import Console

    def changed(arrays):
        return tuple(change(logits) for logits in session(arrays))

    session = reader.model.session()
    candidates = {f"{engine}, {name}": session for name in ("dense", "pruned") for engine in ("PyTorch", "Secateur")}
    candidates["Secateur, pruned, int8"] = session
    console = Console(quiet=True)
    demo.print_answers(console, candidates, reader.model, "A mill of 1742.", ["Who built it?"])
    candidates["Secateur, pruned"] = changed
    with pytest.raises(demo.DemoError, match=sentence):
        demo.print_answers(console, candidates, reader.model, "A mill of 1742.", ["Who built it?"])


def test_a_missing_checkpoint_is_a_sentence(packed, tmp_path, capsys):
    assert demo.main(["--dense", str(tmp_path / "none")]) == 1
    assert "there is no packed checkpoint" in capsys.readouterr().err
