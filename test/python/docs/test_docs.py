"""What README and docs/ say is run: the Python in them, the commands beside it, and the generated pages."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def command(page, needle):
    lines = [line for block in blocks(page, "sh") for line in block.splitlines() if needle in line]
    assert len(lines) == 1, lines
    name, *arguments = shlex.split(lines[0], comments=True)
    return [str(BIN / name), *arguments]


def run(arguments, folder, **more):
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, **more)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """`my-bert` and `my-pruned-bert`, small, where the pages expect them."""
    import torch
    from transformers import BertConfig, BertModel

    from secateur.compression.prune import parse_scheme, prune_model

    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    model = BertModel(BertConfig(**sizes, vocab_size=50, max_position_embeddings=128))
    model.save_pretrained(folder / "my-bert")
    prune_model(model, parse_scheme("bcr", "4x16"), 0.9)[0].save_pretrained(folder / "my-pruned-bert")
    return folder


def test_readme_compiles_a_model(model_folder, monkeypatch, capsys):
    monkeypatch.chdir(model_folder)
    exec(blocks("README.md", "python")[0], {"__name__": "__main__"})
    assert capsys.readouterr().out.splitlines()[-1] == "torch.Size([1, 20, 32])"
    assert (model_folder / "my.bundle" / "manifest.json").exists()


# Command of the README -> what makes it quick.
QUICK = {
    "secateur prune": [],
    "secateur inspect": [],
    "secateur compile my-pruned-bert -o my.bundle": [],
    "secateur bench my.bundle": ["--rounds", "3"],
    "secateur profile": [],
    "--ablate": ["--rounds", "3", "--seq-len", "16"],
    "secateur tune": ["--budget", "5s", "--seq-len", "16", "--no-panels", "--no-compare"],
}


def test_readme_commands(model_folder, secateur, monkeypatch):
    from secateur.compiler.measure import ablate

    run(["rm", "-rf", "my-pruned-bert"], model_folder)
    monkeypatch.chdir(model_folder)
    monkeypatch.setenv("SECATEUR_RECORDS", str(model_folder / "records"))
    # All stages are compared in `driver/test_ablate.py`.
    monkeypatch.setattr(ablate, "STAGES", (ablate.STAGES[0], ablate.STAGES[-2]))
    for needle, more in QUICK.items():
        # In this process: each command would load PyTorch anew.
        done = secateur(*command("README.md", needle)[1:], *more)
        assert done.code == 0, done.err
    listed = [line for line in blocks("README.md", "sh")[1].splitlines() if line.startswith("secateur ")]
    assert len(listed) == len(QUICK)


def test_readme_commands_for_android(model_folder, secateur, tmp_path, monkeypatch):
    from secateur.compiler.verify.verification_place import verification_place
    from secateur.runtime_targets.targets import get_target

    place, why = verification_place(get_target("android-arm64:cortex-a76"))
    if place is None:
        pytest.skip(f"no emulated Arm CPU: {why}")
    # An installation outlives the command: it goes where no user's is.
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.chdir(model_folder)
    commands = [line for line in blocks("README.md", "sh")[2].splitlines() if line.startswith("secateur ")]
    assert len(commands) == 4
    for line in commands:
        done = secateur(*shlex.split(line, comments=True)[1:])
        assert done.code == 0, done.err
    assert "instructions" in done.out


def test_readme_pass(tmp_path):
    (tmp_path / "merge_relus.py").write_text(blocks("README.md", "python")[1])
    relu = '"sparsity.activation"({}) {{kind = "relu"}} : (tensor<2x4xf32>) -> tensor<2x4xf32>'
    body = [f"%a = {relu.format('%x')}", f"%b = {relu.format('%a')}", "return %b : tensor<2x4xf32>"]
    ir = "func.func @main(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {\n" + "\n".join(body) + "\n}\n"
    (tmp_path / "model.mlir").write_text(ir)
    done = run(command("README.md", "merge_relus:MergeRelus"), tmp_path)
    assert done.stdout.count("sparsity.activation") == 1
    assert re.search(r"1\b.*relus-merged|relus-merged.*\b1", done.stderr)


def test_a_pass_of_ones_own(tmp_path):
    page = "docs/write-a-pass.md"
    (tmp_path / "drop_dead_bias.py").write_text(blocks(page, "python")[0])
    (tmp_path / "layer.mlir").write_text(blocks(page, "mlir")[0])
    done = run(command(page, "drop_dead_bias:DropDeadBias"), tmp_path)
    assert "biases-dropped" in done.stderr
    found = run(
        [str(BIN / "sparsity-opt"), "layer.mlir", "--load-pass=drop_dead_bias:DropDeadBias", "--drop-dead-bias"],
        tmp_path,
    )
    assert "array<i32: 1, 1, 0, 0>" in found.stdout


def test_passes_on_a_dumped_model(model_folder, secateur, monkeypatch):
    page = "docs/write-a-pass.md"
    monkeypatch.chdir(model_folder)
    done = secateur(*command(page, "--dump-ir ir")[1:])
    assert done.code == 0, done.err
    listed = next(line for block in blocks(page, "sh") for line in block.splitlines() if line.startswith("ls ir"))
    assert sorted(p.name for p in (model_folder / "ir").iterdir()) == listed.partition("#")[2].split()
    for needle in ("-o fused.mlir", "-o scheduled.mlir"):
        run(command(page, needle), model_folder)
    assert "row_tile = 4" in (model_folder / "fused.mlir").read_text()
    assert "sparsity.packed_linear" in (model_folder / "scheduled.mlir").read_text()


def test_generated_pages_are_up_to_date():
    run([sys.executable, str(ROOT / "docs" / "generate.py"), "--check"], ROOT)
