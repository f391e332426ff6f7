"""Exit codes of all commands: 2 where the command line is at fault, told before anything is loaded; 1 for the rest."""

import pytest

from secateur.commands.app import app
from secateur.compiler.opt.command import main as sparsity_opt

# What each row's words stand for: `model` and `bundle` look like such from outside and hold nothing that loads.
SQUAD = ["--task", "squad"]
NAMED = {
    "compile": [
        (["nowhere", "-o", "out"], "does not exist"),
        (["file", "-o", "out"], "is a file"),
        (["empty", "-o", "out"], "has no config.json"),
        (["model", "-o", "file/out"], "is no folder"),
        (["model", "-o", "model"], "is no bundle"),
        (["model", "-o", "out", "--dump-ir", "file"], "is a file; expected a folder"),
        (["model", "--compile-to", "kernels", "-o", "empty"], "is a folder; expected a file"),
        (["model", "-o", "out", "-t", "host-cpi"], "did you mean 'host-cpu'"),
        (["model", "-o", "out", "-t", "host-cpu", "-t", "host-cpu"], "is given twice"),
        (["model", "-o", "out", "--weights", "f8"], "--weights"),
        (["model", "-o", "out", "--arithmetic", "f16"], "arithmetic in f16 takes weights of f16"),
        (["model", "-o", "out", "--seq-len", "0"], "--seq-len"),
        (["model", "-o", "out", "--budget", "9min"], "with --tune"),
        (["model", "-o", "out", "--tune", "--budget", "soon"], "found 'soon'"),
        (["model", "-o", "out", "--tune", "--no-records"], "'tune' makes records"),
        (["model"], "give -o OUT"),
    ],
    "inspect": [
        (["nowhere"], "does not exist"),
        (["nowhere.zip"], "there is no bundle"),
        (["file"], "is a file that is no ZIP archive and no bundle"),
        (["empty"], "has no config.json"),
        (["bundle", "--fusion"], "give the model's folder"),
        (["model", "--plan", "a=b"], "needs --fusion"),
        (["model", "--fusion", "--plan", "nothing=separate"], "unknown kind of fusion site 'nothing'"),
    ],
    "run": [
        (["nowhere", "-i", "a=array"], "there is no bundle"),
        (["empty", "-i", "a=array"], "is an empty folder and no bundle"),
        (["file", "-i", "a=array"], "is a file that is no ZIP archive and no bundle"),
        (["bundle", "-i", "a=nowhere"], "there is no file"),
        (["bundle", "-i", "array"], "expected NAME="),
        (["bundle", "-i", "a=array", "-o", "out.txt"], "*.npz"),
        (["bundle", "-i", "a=array", "-o", "file/out.npz"], "is no folder"),
        (["bundle", "-i", "a=array", "--threads", "0"], "--threads"),
    ],
    "prune": [
        (["nowhere", "-o", "out", "--sparsity", "0.5"], "does not exist"),
        (["file", "-o", "out", "--sparsity", "0.5"], "is a file"),
        (["model", "-o", "model", "--sparsity", "0.5"], "name a new folder"),
        (["model", "-o", "file", "--sparsity", "0.5"], "name a new folder"),
        (["model", "-o", "file/out", "--sparsity", "0.5"], "is no folder"),
        (["model", "-o", "out"], "needs a fraction"),
        (["model", "-o", "out", "--sparsity", "1"], "found 1"),
        (["model", "-o", "out", "--sparsity", "nan"], "--sparsity"),
        (["model", "-o", "out", "--sparsity", "0.5", "--scheme", "bcrr"], "did you mean 'bcr'"),
        (["model", "-o", "out", "--sparsity", "0.5", "--block", "4by4"], "found '4by4'"),
        (["model", "-o", "out", "--sparsity", "0.5", "--method", "admmm"], "did you mean 'admm'"),
        (["model", "-o", "out", "--sparsity", "0.5", "--rates", "best"], "found 'best'"),
        (["model", "-o", "out", "--scheme", "nm", "--rates", "global"], "same sparsity in each layer"),
        (["model", "-o", "out", "--sparsity", "0.5", "--data", "squat"], "there is no task 'squat'"),
        (["model", "-o", "out", "--sparsity", "0.5", "--data", "squad=nowhere"], "there is no file"),
        (["model", "-o", "out", "--sparsity", "0.5", "--data", "file", "--steps", "2"], "a training needs a task"),
        (["model", "-o", "out", "--target-latency", "soon"], "found 'soon'"),
        (["model", "-o", "out", "--target-latency", "9ms", "--target", "host-cpi"], "did you mean 'host-cpu'"),
        (["model", "-o", "out", "--target-latency", "9ms", "--block", "4x1", "--blocks", "4x1"], "give --block, or"),
        (["model", "-o", "out", "--target-latency", "9ms", "--blocks", "4x1,x"], "found 'x'"),
        (["model", "-o", "out", "--target-latency", "9ms", "--clock", "nan"], "found nan"),
        (["model", "-o", "out", "--sparsity", "0.5", "--overlay", "file"], "needs --data"),
        (["model", "-o", "out", "--sparsity", "0.5", "--data", "squad", "--overlay", "nowhere"], "there is no file"),
        (["model", "-o", "out", "--sparsity", "0.5", "--data", "squad", "--steps", "2", "--teacher", "nowhere"],
         "does not exist"),
        (["model", "-o", "out", "--sparsity", "0.5", "--learning-rate", "nan"], "found nan"),
        (["model", "-o", "out", "--sparsity", "0.5", "--weights", "file"], "is not one of 'f32', 'f16', 'int8'"),
    ],
    "finetune": [
        (["nowhere", *SQUAD, "-o", "out"], "does not exist"),
        (["file", *SQUAD, "-o", "out"], "is a file"),
        (["model", "--task", "squat", "-o", "out"], "there is no task 'squat'"),
        (["model", *SQUAD, "-o", "file"], "expected a folder"),
        (["model", *SQUAD, "-o", "out", "--data", "nowhere"], "there is no file"),
        (["model", *SQUAD, "-o", "out", "--epochs", "1", "--steps", "1"], "give one of"),
        (["model", *SQUAD, "-o", "out", "--minutes", "inf"], "found inf"),
        (["model", *SQUAD, "-o", "out", "--learning-rate", "0"], "found 0"),
        (["model", *SQUAD, "-o", "out", "--teacher", "nowhere"], "does not exist"),
        (["model", *SQUAD, "-o", "out", "--teacher-overlay", "file"], "goes with --teacher"),
        (["model", *SQUAD, "-o", "out", "--overlay", "empty"], "is a folder"),
    ],
    "eval": [
        (["nowhere", *SQUAD], "does not exist"),
        (["file", *SQUAD], "is a file that is no ZIP archive and no bundle"),
        (["model", "--task", "squat"], "there is no task 'squat'"),
        (["model", *SQUAD, "--split", "test"], "has the splits dev, train"),
        (["model", *SQUAD, "--data", "nowhere"], "there is no file"),
        (["model", *SQUAD, "--predictions", "file/p.json"], "is no folder"),
        (["model", *SQUAD, "--limit", "0"], "--limit"),
    ],
    "bench": [
        (["nowhere"], "there is no bundle"),
        (["empty"], "is an empty folder and no bundle"),
        (["bundle", "--model", "nowhere"], "does not exist"),
        (["bundle", "--stock-iree"], "needs --model"),
        (["bundle", "--peers"], "needs --model"),
        (["bundle", "--ablate"], "needs --model"),
        (["bundle", "--ablate", "--model", "model", "--peers"], "does not go with --ablate"),
        (["bundle", "--device", "phone"], "did you mean"),
        (["bundle", "--device", "adb", "--ablate"], "does not go with --device"),
        (["bundle", "--device", "adb", "--target", "host-cpi"], "did you mean 'host-cpu'"),
        (["bundle", "--device", "adb", "--cores", "big"], "found 'big'"),
        (["bundle", "--device", "adb", "--mca"], "goes with --device qemu:CPU"),
        (["bundle", "--cores", "1"], "goes with --device"),
        (["bundle", "--target", "host-cpu"], "goes with --device"),
        (["nowhere", "--ablate"], "does not exist"),
    ],
    "tune": [
        ([], "name a model to tune"),
        (["nowhere"], "does not exist"),
        (["model", "nowhere"], "does not exist"),
        (["bundle"], "is a bundle"),
        (["model", "--target", "host-cpi"], "did you mean 'host-cpu'"),
        (["model", "--target", "android-vulkan"], "cannot be timed here"),
        (["model", "--device", "phone"], "did you mean"),
        (["model", "--device", "adb"], "emulated CPUs such as"),
        (["model", "--objective", "cycles"], "goes with --device"),
        (["model", "--budget", "soon"], "found 'soon'"),
        (["model", "--arithmetic", "f16"], "arithmetic in f16 takes weights of f16"),
        (["--import", "nowhere"], "there is no bundle"),
        (["--import", "file"], "is a file that is no ZIP archive and no bundle"),
    ],
    "search": [
        (["nowhere", "-o", "out", "--candidates", "1"], "does not exist"),
        (["file", "-o", "out", "--candidates", "1"], "is a file"),
        (["model", "-o", "out"], "give a time"),
        (["model", "-o", "out", "--budget", "soon"], "found 'soon'"),
        (["model", "-o", "out", "--candidates", "1", "--latency", "soon"], "found 'soon'"),
        (["model", "-o", "out", "--candidates", "1", "--task", "squat"], "there is no task 'squat'"),
        (["model", "-o", "out", "--candidates", "1", "--target", "host-cpi"], "did you mean 'host-cpu'"),
        (["model", "-o", "out", "--candidates", "1", "--train", "long"], "found 'long'"),
        (["model", "-o", "out", "--candidates", "1", "--data", "nowhere"], "there is no file"),
        (["model", "-o", "file", "--candidates", "1"], "is a file"),
        (["--report", "nowhere"], "there is no search in"),
    ],
    "profile": [
        (["nowhere"], "there is no bundle"),
        (["empty"], "is an empty folder and no bundle"),
        (["bundle", "--scaling"], "needs --threads"),
        (["bundle", "--html", "empty"], "is a folder"),
    ],
    "deploy": [
        (["nowhere"], "there is no bundle"),
        (["file"], "is a file that is no ZIP archive and no bundle"),
        (["bundle", "--device", "phone"], "did you mean"),
        (["bundle", "--target", "host-cpi"], "did you mean 'host-cpu'"),
    ],
    "targets": [(["host-cpi"], "did you mean 'host-cpu'")],
    "qa": [
        (["nowhere", "--context", "file", "--question", "a"], "there is no bundle"),
        (["bundle", "--context", "nowhere", "--question", "a"], "there is no file"),
        (["bundle", "--context", "empty", "--question", "a"], "is a folder"),
        (["bundle", "--context", "file", "--question", " "], "the question is empty"),
        (["bundle", "--context", "file", "--question", "a", "--n-best", "21"], "--n-best"),
    ],
    "serve": [
        (["nowhere"], "there is no bundle"),
        (["bundle", "--compare", "file"], "is a file that is no ZIP archive and no bundle"),
        (["bundle", "--port", "70000"], "--port"),
        (["bundle", "--time-limit", "nan"], "--time-limit"),
    ],
}  # fmt: skip

# What is there, but does not hold what it should: the command ran and failed.
FAILED = [
    ["compile", "model", "-o", "out"],
    ["compile", "model", "--compile-to", "torch"],
    ["inspect", "model"],
    ["inspect", "bundle"],
    ["run", "bundle", "-i", "a=array"],
    ["prune", "model", "-o", "out", "--sparsity", "0.5"],
    ["finetune", "model", *SQUAD, "--data", "file", "-o", "out"],
    ["eval", "model", *SQUAD, "--data", "file"],
    ["bench", "bundle"],
    ["bench", "model", "--ablate"],
    ["search", "model", "-o", "out", "--candidates", "1"],
    ["tune", "model"],
    ["tune", "--import", "bundle"],
    ["profile", "bundle"],
    ["deploy", "bundle", "--device", "local"],
    ["qa", "bundle", "--context", "file", "--question", "a"],
    ["serve", "bundle", "--port", "0"],
]


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A folder to work in with what the rows name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    for name, file in (("model", "config.json"), ("bundle", "manifest.json")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text("{}")
    (tmp_path / "file").write_text("a text")
    import numpy as np

    np.save(tmp_path / "array.npy", np.zeros(1))
    (tmp_path / "array.npy").rename(tmp_path / "array")
    return tmp_path


def absolute(word, places):
    """The row's words as paths, so that none can be the name of a model of the hub."""
    head, equals, tail = word.rpartition("=")
    parts = tail.split("/")
    known = ("nowhere", "nowhere.zip", "file", "empty", "model", "bundle", "array", "out", "out.txt")
    return f"{head}{equals}{places}/{tail}" if parts[0] in known else word


def everything(places):
    return {str(path.relative_to(places)) for path in places.rglob("*")}


def test_every_command_is_in_the_table():
    assert set(NAMED) == {command.name for command in app.registered_commands}


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [(command, words, message) for command, rows in NAMED.items() for words, message in rows],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_wrong_usage_is_2_and_told_before_anything_is_loaded(command, words, message, places, secateur, monkeypatch):
    for loads in ("secateur.frontends.checkpoint.load_model", "secateur.runtime_targets.bundle.open_bundle"):
        monkeypatch.setattr(loads, lambda *_, **__: pytest.fail("it was loaded before the usage was checked"))
    before = everything(places)
    result = secateur(command, *(absolute(word, places) for word in words))
    assert (result.code, result.out) == (2, ""), result.err
    assert message in result.err
    assert "internal fault" not in result.err and "Traceback" not in result.err
    assert everything(places) == before


@pytest.mark.parametrize("words", FAILED, ids=" ".join)
def test_a_failure_is_1(words, places, secateur):
    before = everything(places)
    result = secateur(words[0], *(absolute(word, places) for word in words[1:]))
    assert (result.code, result.out) == (1, ""), result.err
    assert "error: " in result.err and "internal fault" not in result.err
    assert everything(places) == before


def test_a_name_that_is_no_folder_and_no_model_of_the_hub_is_2(places, secateur):
    result = secateur("inspect", "no-such-model", "--quiet")
    assert result.code == 2 and "'no-such-model' is no folder" in result.err


@pytest.mark.parametrize("words", [["compile", "model", "-o"], ["prune", "model", "--sparsity", "0.5", "-o"]])
def test_a_folder_that_is_read_only_is_told_first(words, places, secateur, monkeypatch):
    # Root may write everywhere.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    result = secateur(*(absolute(word, places) for word in words), places / "empty" / "out")
    assert result.code == 2 and "is read-only" in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["nowhere"],
        ["empty"],
        ["good", "--no-such-pass"],
        ["good", "--weights=nowhere"],
        ["good", "--weights=file"],
        ["good", "-o", "nowhere/out"],
        ["good", "-o", "empty"],
        ["good", "--save-weights=file"],
        ["good", "--mlir-print-ir-after-all", "--mlir-print-ir-tree-dir=file"],
        ["good", "--mlir-pass-pipeline-crash-reproducer=nowhere/repro"],
        ["good", "--check-semantics", "--check-seed=x"],
        ["good", "--check-semantics", "--check-seed=-1"],
        ["good", "--check-semantics", "--check-tolerance=nan"],
        ["good", "--check-semantics", "--check-tolerance=-1"],
        ["good", "--mlir-elide-elementsattrs-if-larger=x"],
        ["good", "--pass-pipeline=cse", "--cse"],
        ["good", "--load-pass=nothing"],
        ["good", "--sparsity-tile=nothing=1"],
        ["good", "--mlir-print-ir-after=no-such-pass"],
    ],
    ids=" ".join,
)
def test_sparsity_opt_has_the_same_codes(arguments, places, capsys):
    (places / "good").write_text("module {}\n")
    before = everything(places)
    assert sparsity_opt(arguments) == 2
    told = capsys.readouterr()
    assert told.out == "" and "sparsity-opt: " in told.err and "internal error" not in told.err
    assert everything(places) == before
