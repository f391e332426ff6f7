"""Every command: what it writes, its JSON, its errors and exit codes."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import BertModel

from secateur.commands import main
from secateur.commands.app import app

COMMANDS = [c.name for c in app.registered_commands]


@pytest.fixture
def inputs(tmp_path):
    ids = np.arange(7)[None]
    np.save(tmp_path / "ids.npy", ids)
    np.savez(tmp_path / "rest.npz", attention_mask=np.ones_like(ids), token_type_ids=np.zeros_like(ids))
    return ["--input", f"input_ids={tmp_path / 'ids.npy'}", "--input", tmp_path / "rest.npz"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example_and_the_options_all_commands_share(secateur, name):
    result = secateur(name, "--help")
    assert result.code == 0
    assert f"Example: secateur {name}" in " ".join(result.out.split())
    # A server has no result to print, its address apart.
    shared = ("--quiet", "--debug") if name == "serve" else ("--json", "--quiet", "--debug")
    for option in shared:
        assert option in result.out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_in_groups_and_names_values_as_the_field_does(secateur, name):
    text = secateur(name, "--help").out
    assert not re.search(r"<(int|float|str|path|list|bool)\b", text)
    groups = {}
    for line in text.partition("Usage:")[2].splitlines():
        if re.fullmatch(r"[A-Z][a-z ]+:", line):
            groups[line[:-1]] = found = []
        elif re.match(r"  (-\w, )?--", line):
            found.append(line)
    count = sum(map(len, groups.values()))
    assert ("Options" in groups) == (count <= 8)
    assert all(len(group) <= 8 for group in groups.values())
    assert any("--help" in line for line in groups.popitem()[1])


def test_help_imports_neither_torch_nor_mlir():
    script = "import sys; from secateur.commands import main; main(['compile', '--help']); " + (
        "print([m for m in ('torch', 'torch_mlir', 'iree', 'transformers', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_options_name_every_number_format():
    from secateur.commands.number_options import Arithmetic, Weights
    from secateur.dialects.number_formats import ARITHMETICS, STORAGES

    assert [w.value for w in Weights] == list(STORAGES) and [a.value for a in Arithmetic] == list(ARITHMETICS)


def test_help_is_imported_in_half_a_second():
    def seconds() -> float:
        command = [sys.executable, "-X", "importtime", "-c", "import secateur.commands.app"]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
        return int(lines[-1].split("|")[1]) / 1e6

    # The least of some: a busy machine adds, and takes nothing away.
    assert min(seconds() for _ in range(3)) < 0.5


def test_running_a_bundle_does_not_import_torch(bundle, inputs):
    script = "import sys; from secateur.commands import main; code = main(sys.argv[1:]); " + (
        "print(code, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", script, "run", bundle, *inputs, "--quiet"]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.stdout.split()[-2:] == ["0", "False"], done.stderr


def test_prune_writes_a_hugging_face_folder_with_zeros(pruned_folder, dense_folder):
    pruned, dense = (BertModel.from_pretrained(f) for f in (pruned_folder, dense_folder))
    weight = pruned.encoder.layer[0].output.dense.weight
    kept = weight != 0
    assert float((~kept).float().mean()) == pytest.approx(0.8, abs=0.02)
    assert torch.equal(weight[kept], dense.encoder.layer[0].output.dense.weight[kept])
    assert torch.equal(pruned.embeddings.word_embeddings.weight, dense.embeddings.word_embeddings.weight)


def test_prune_refuses_what_it_cannot_do_and_writes_nothing(secateur, dense_folder, tmp_path):
    out = tmp_path / "out"
    base = ["prune", dense_folder, "-o", out]
    assert "needs a fraction" in secateur(*base, "--method", "one-shot").err
    assert "did you mean 'second-order'" in secateur(*base, "--sparsity", "0.5", "--method", "second_order").err
    assert "needs data" in secateur(*base, "--sparsity", "0.5", "--method", "admm").err
    assert "at least 0 and less than 1, found 1" in secateur(*base, "--sparsity", "1").err
    assert "exceeds the weight" in secateur(*base, "--sparsity", "0.5", "--block", "4x999").err
    result = secateur(*base, "--sparsity", "0.5", "--scheme", "bcrr")
    assert result.code == 2
    assert "did you mean 'bcr'" in result.err
    assert not out.exists()
    out.mkdir()
    (out / "mine").write_text("")
    result = secateur(*base, "--sparsity", "0.5")
    assert result.code == 2
    assert f"'{out}' exists" in result.err
    assert [p.name for p in out.iterdir()] == ["mine"]


def test_inspect_lists_layers(secateur, pruned_folder):
    layers = secateur("inspect", pruned_folder, "--json").json["layers"]
    assert len(layers) == 7
    for layer in layers[:6]:
        assert layer["sparsity_fraction"] == pytest.approx(0.8, abs=0.02)
        assert layer["kept_flops"] < layer["dense_flops"] == 2 * 128 * layer["rows"] * layer["columns"]
    assert "encoder.layer.0.output.dense" in secateur("inspect", pruned_folder).out


def test_compile_reports_and_run_agrees_with_pytorch(secateur, bundle, pruned_folder, inputs, tmp_path):
    out = tmp_path / "out.npz"
    result = secateur("run", bundle, *inputs, "-o", out, "--json")
    assert result.code == 0
    arrays = np.load(out)
    with torch.no_grad():
        expected = BertModel.from_pretrained(pruned_folder).eval()(input_ids=torch.arange(7)[None])
    for name, tensor in expected.items():
        np.testing.assert_allclose(arrays[name], tensor, rtol=0, atol=1e-5)
        described = result.json["outputs"][name]
        assert described["shape"] == list(tensor.shape)
        np.testing.assert_allclose(np.array(described["values"], np.float64), tensor, rtol=0, atol=1e-5)


def test_compile_as_json_says_what_was_verified(secateur, pruned_folder, tmp_path):
    result = secateur("compile", pruned_folder, "-o", tmp_path / "m.zip", "--seq-len", "16", "--json")
    report = result.json
    assert result.code == 0
    assert report["out"] == str(tmp_path / "m.zip")
    assert {d["case"] for d in report["targets"][0]["verification"]} == {"random", "padded", "shorter", "masked"}
    assert (tmp_path / "m.zip").is_file()


def test_compile_to_a_level_prints_ir(secateur, pruned_folder, tmp_path):
    base = ["compile", pruned_folder, "--seq-len", "16"]
    result = secateur(*base, "--compile-to", "structural")
    assert "sparsity.linear" in result.out
    assert "sparsity.packed_linear" not in result.out
    result = secateur(
        "compile", pruned_folder, "--seq-len", "16", "--compile-to", "scheduled", "-o", tmp_path / "a.mlir"
    )
    assert result.code == 0
    assert "sparsity.packed_linear" in (tmp_path / "a.mlir").read_text()


def test_quiet_prints_the_result_alone(secateur, pruned_folder, tmp_path):
    result = secateur("compile", pruned_folder, "-o", tmp_path / "m.bundle", "--seq-len", "16", "--quiet")
    assert (result.code, result.err) == (0, "")
    assert "m.bundle" in result.out


def test_bench_compares(secateur, bundle, pruned_folder):
    result = secateur("bench", bundle, "--model", pruned_folder, "--stock-iree", "--rounds", "3", "--json")
    value = result.json
    assert set(value["latency_ms"]) == {"secateur", "PyTorch", "stock IREE"}
    for name, factor in value["times_faster_than"].items():
        medians = value["latency_ms"]
        assert factor == pytest.approx(medians[name]["median_ms"] / medians["secateur"]["median_ms"])


def test_bench_without_the_peers_environments_goes_on_with_what_is_there(
    secateur, bundle, pruned_folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("SECATEUR_PEERS", str(tmp_path))
    command = ["bench", bundle, "--model", pruned_folder, "--peers", "--rounds", "3"]
    value = secateur(*command, "--json").json
    assert set(value["latency_ms"]) == {"secateur", "stock IREE"}
    assert all(error < 1e-5 for error in value["relative_l2"].values())
    assert value["versions"]["stock IREE"]["iree-base-runtime"]
    assert {"LiteRT", "DeepSparse"} <= set(value["skipped"])
    assert f"there is no environment '{tmp_path / 'main'}'" in value["skipped"]["LiteRT"]


def test_targets(secateur):
    listed = {t["name"]: t for t in secateur("targets", "--json").json["targets"]}
    assert listed["android-arm64:cortex-a76"]["default"] and not listed["android-arm64:cortex-x4"]["default"]
    assert listed["android-arm64:cortex-x4"]["emulator"] == "qemu:max"
    assert listed["android-vulkan:adreno-740"]["subgroup"] == 64
    text = secateur("targets").out
    for family in {name.partition(":")[0] for name in listed}:
        assert f"{family}: " in text
    models = secateur("targets", "android-arm64").out
    assert "android-arm64:cortex-a55" in models and "i8mm" in models and "vulkan" not in models
    assert secateur("targets", "cortex-a76").code == 2


def test_a_bundle_for_several_targets(secateur, pruned_folder, inputs, tmp_path):
    out, chosen = tmp_path / "m.bundle", ["-t", "host-cpu", "--target", "android-arm64:cortex-a55"]
    result = secateur("compile", pruned_folder, "-o", out, "--seq-len", "16", *chosen, "--verify", "off")
    assert result.code == 0, result.err
    for part in ("that all read", "dense float32", "a process that runs it peaks", "unverified: it was not asked for"):
        assert part in result.out
    found = secateur("inspect", out, "--json").json
    assert [t["name"] for t in found["targets"]] == ["host-cpu", "android-arm64:cortex-a55"]
    assert found["self_test"] and found["schema_version"] == 5
    assert all(0 < t["own_parameter_bytes"] < t["parameter_bytes"] for t in found["targets"])
    assert "android-arm64:cortex-a55: unverified" in secateur("inspect", out).out
    assert secateur("inspect", out, "--fusion").code == 2
    assert secateur("run", out, *inputs).code == 0


def test_a_target_that_fails_is_named_and_the_others_are_written(secateur, pruned_folder, tmp_path, monkeypatch):
    from secateur.compiler.build.target_build import TargetBuild
    from secateur.compiler.errors import CompileError

    compile_one = TargetBuild.compile

    def failing(build, *arguments):
        if build.report.name == "linux-arm64:cortex-a72":
            raise CompileError("its code cannot be had")
        return compile_one(build, *arguments)

    monkeypatch.setattr(TargetBuild, "compile", failing)
    out = tmp_path / "b"
    targets = ["--target", "linux-arm64:cortex-a72", "--target", "host-cpu", "--verify", "off", "--no-cache", "--quiet"]
    result = secateur("compile", pruned_folder, "-o", out, "--seq-len", "16", *targets)
    assert result.code == 1
    assert result.err == "error: the target 'linux-arm64:cortex-a72' is not in the bundle: its code cannot be had\n"
    found = json.loads(secateur("inspect", out, "--json").out)
    assert [target["name"] for target in found["targets"]] == ["host-cpu"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["compil"], 2, "Did you mean 'compile'?"),
        (["compile"], 2, "MODEL"),
        (["compile", "x"], 2, "give -o OUT"),
        (["compile", "x", "-o", "y", "-t", "cortex-a67"], 2, "did you mean 'android-arm64:cortex-a"),
        (["compile", "x", "-o", "y", "--seq-len", "0"], 2, "--seq-len"),
        (["compile", "/nowhere", "-o", "y"], 2, "'/nowhere' does not exist"),
        (["compile", "/nowhere", "-o", "/"], 2, "'/nowhere' does not exist"),
        ([], 2, "Usage: secateur"),
    ],
)
def test_errors_are_a_sentence_and_an_exit_code(secateur, arguments, code, message):
    result = secateur(*arguments)
    assert result.code == code
    assert message in result.err
    assert "Traceback" not in result.err
    assert result.out == ""


def test_a_wrong_target_is_named_and_nothing_is_written(secateur, pruned_folder, tmp_path):
    result = secateur("compile", pruned_folder, "-o", tmp_path / "b", "--target", "host-cpi")
    assert result.code == 2
    assert "did you mean 'host-cpu'" in result.err
    assert "internal fault" not in result.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("more", [[], ["--compile-to", "kernels"]])
def test_an_output_that_cannot_be_written_is_said_before_the_model_is_loaded(secateur, tmp_path, more, monkeypatch):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    (tmp_path / "README.md").write_text("mine")
    monkeypatch.setattr("secateur.compiler.compile_model", lambda *_, **__: pytest.fail("too late"))
    inside = secateur("compile", tmp_path / "m", "-o", tmp_path / "README.md" / "b", *more)
    assert (inside.code, "is no folder" in inside.err) == (2, True)
    over = secateur("compile", tmp_path / "m", "-o", tmp_path / ("m" if more else "README.md"), *more)
    assert (over.code, ("is a folder" if more else "is no bundle") in over.err) == (2, True)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_inputs_that_do_not_fit_are_named(secateur, bundle, inputs, tmp_path):
    assert "given twice" in secateur("run", bundle, *inputs, *inputs[:2]).err
    (tmp_path / "bad.npy").write_bytes(b"no array")
    assert "is no NumPy file" in secateur("run", bundle, "--input", f"input_ids={tmp_path / 'bad.npy'}").err
    np.save(tmp_path / "good.npy", np.zeros((1, 16), np.int64))
    header = (tmp_path / "good.npy").read_bytes()
    for place, byte in ((10, b"("), (20, b"\\"), (60, b"\0"), (6, b"\xff")):
        (tmp_path / "bad.npy").write_bytes(header[:place] + byte + header[place + 1 :])
        found = secateur("run", bundle, "--input", f"input_ids={tmp_path / 'bad.npy'}")
        assert (found.code, "is no NumPy file" in found.err) == (2, True), found.err
    np.save(tmp_path / "long.npy", np.zeros((1, 99), np.int64))
    result = secateur("run", bundle, "--input", f"input_ids={tmp_path / 'long.npy'}")
    assert result.code == 1
    assert "input 'input_ids' has shape [1, 99]" in result.err


def test_debug_shows_where(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(Exception, match=r"manifest\.json"):
        main(["bench", str(tmp_path), "--debug"])


def test_a_value_that_is_not_finite_is_null_in_json():
    from secateur.commands.run import describe

    described = describe(np.array([1.0, np.nan, np.inf]))
    assert described["values"] == [1.0, None, None]
    json.dumps(described, allow_nan=False)
