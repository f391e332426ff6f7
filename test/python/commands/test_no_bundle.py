"""Every command that takes a bundle, given something else: one sentence on what it is, and what makes a bundle."""

import pytest

COMMANDS = {
    "run": ["--input", "x=x.npy"],
    "profile": [],
    "deploy": ["--device", "local"],
    "bench": [],
    "qa": ["--context", "text", "--question", "q"],
    "serve": [],
}
MAKE = "`secateur compile MODEL -o OUT` makes a bundle of a Hugging Face folder"


@pytest.fixture
def things(tmp_path):
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "config.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "ir.mlir").write_text("module {}")
    (tmp_path / "text").write_text("text")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_something_else_is_named(secateur, things, command, monkeypatch):
    monkeypatch.chdir(things)
    (things / "x.npy").write_bytes(b"")
    for given, found in {
        "checkpoint": "'checkpoint' is a Hugging Face folder and no bundle; `secateur compile checkpoint -o OUT` makes",
        "empty": f"'empty' is an empty folder and no bundle; {MAKE}",
        "folder": f"'folder' is a folder without manifest.json and no bundle; {MAKE}",
        "ir.mlir": f"'ir.mlir' is a file of IR and no bundle; {MAKE}",
        "text": f"'text' is a file that is no ZIP archive and no bundle; {MAKE}",
        "nothing": f"there is no bundle at 'nothing'; {MAKE}",
    }.items():
        result = secateur(command, given, *COMMANDS[command])
        assert (result.code, found in result.err) == (2, True), result.err
    result = secateur(command)
    assert result.code == 2
    assert MAKE in result.err or "BUNDLE" not in result.err, result.err


@pytest.mark.parametrize("command", ["inspect", "eval"])
def test_a_command_for_models_and_bundles_names_files_that_are_neither(secateur, things, command):
    more = ["--task", "squad"] if command == "eval" else []
    result = secateur(command, things / "ir.mlir", *more)
    assert (result.code, "is a file of IR and no bundle" in result.err) == (2, True), result.err


@pytest.mark.parametrize("command", ["compile", "prune", "finetune", "tune"])
def test_a_command_for_models_names_a_bundle(secateur, things, command):
    (things / "folder" / "manifest.json").write_text("{}")
    more = {"compile": ["-o", things / "out"], "prune": ["-o", things / "out", "--sparsity", "0.5"]}.get(command, [])
    more = ["-o", things / "out", "--task", "squad"] if command == "finetune" else more
    for given in (things / "folder", things / "my.zip"):
        result = secateur(command, given, *more)
        assert (result.code, f"'{given}' is a bundle, which holds finished code" in result.err) == (2, True), result.err
        assert not (things / "out").exists()
