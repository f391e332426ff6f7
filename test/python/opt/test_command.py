"""The command as a process: start, exit codes, files."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from torch_mlir import ir

from secateur.compiler.opt import command as opt
from secateur.compiler.opt.flags import FLAGS
from secateur.compiler.pipeline.context import make_context
from secateur.dialects.weight_store import WeightStore

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "docs" / "examples"
COMMAND = [sys.executable, "-m", "secateur.compiler.opt"]
GOOD = "func.func @f(%x: i32) -> i32 {\n  return %x : i32\n}\n"
BAD = "func.func @f(%x: i32) -> f32 {\n  return %x : i32\n}\n"
LIMITED = ["--load-pass=count_ops:CountOps", "--count-ops=limit=1"]
TWO_OPS = "func.func @f(%x: i32) -> i32 {\n  %0 = arith.addi %x, %x : i32\n  return %0 : i32\n}\n"


def run(*arguments, source=GOOD, paths=(EXAMPLES,), code=0):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = subprocess.run(
        [*COMMAND, *arguments], input=source, capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.returncode == code, done.stderr
    assert code == 0 or "--debug" in arguments or "Traceback" not in done.stderr
    return done


def test_starts_in_under_a_second():
    def cpu_seconds():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    times = []
    for _ in range(3):
        before = cpu_seconds()
        run("--cse")
        times.append(cpu_seconds() - before)
    assert min(times) < 1


def test_never_imports_torch(tmp_path):
    (tmp_path / "spy.py").write_text(
        "import dataclasses, sys\n"
        "from secateur.passes.base import Pass\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Spy(Pass):\n"
        "    '''Fails where torch is loaded.'''\n"
        "    name = 'spy'\n"
        "    def run(self, module, context):\n"
        "        assert 'torch_mlir' in sys.modules\n"
        "        assert 'torch' not in sys.modules\n"
    )
    source = "func.func @f(%x: tensor<2xf32>) -> tensor<2xf32> {\n  return %x : tensor<2xf32>\n}\n"
    run("--load-pass=spy:Spy", "--cse", "--check-semantics", "--spy", source=source, paths=(tmp_path,))


def test_importing_the_compiler_loads_nothing():
    check = "import sys, secateur.compiler; print(sorted({'torch', 'torch_mlir', 'numpy'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "source", "code"),
    [
        (["--cse"], GOOD, 0),
        ([], BAD, 1),
        (LIMITED, TWO_OPS, 1),
        (["--verify-diagnostics"], BAD, 1),
        (["--no-such-pass"], GOOD, 2),
        (["no-such-file.mlir"], GOOD, 2),
        (["--weights=no-such-folder"], GOOD, 2),
        (["--load-pass=no_such:Pass"], GOOD, 2),
        (["--statistics=xml"], GOOD, 2),
        (["--run-reproducer"], GOOD, 2),
        (["-o", "no-such-folder/out.mlir"], GOOD, 2),
        (["--pass-pipeline=cse", "--cse"], GOOD, 2),
    ],
)
def test_exit_code(arguments, source, code):
    done = run(*arguments, source=source, code=code)
    assert bool(done.stdout) == (code == 0)
    assert bool(done.stderr) == (code != 0)


def test_an_interrupt_is_130(tmp_path):
    (tmp_path / "stopper.py").write_text(
        "import dataclasses, os, signal\n"
        "from secateur.passes.base import Pass\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Stopper(Pass):\n"
        "    '''Presses Ctrl-C.'''\n"
        "    name = 'stopper'\n"
        "    def run(self, module, context):\n"
        f"        os.kill(os.getpid(), {int(signal.SIGINT)})\n"
    )
    run("--load-pass=stopper:Stopper", "--stopper", paths=(tmp_path,), code=130)


def test_traceback_only_with_debug():
    assert "Traceback" not in run(*LIMITED, source=TWO_OPS, code=1).stderr
    assert "Traceback" in run(*LIMITED, "--debug", source=TWO_OPS, code=1).stderr


def test_help_and_version(capsys):
    assert opt.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "examples:" in shown
    assert all(f"-{name}" in shown for name in FLAGS)
    assert opt.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("sparsity-opt ")


def test_output_is_kept_where_the_run_fails(tmp_path):
    out = tmp_path / "out.mlir"
    out.write_text("before")
    run("-o", str(out), source=BAD, code=1)
    assert out.read_text() == "before"
    run("-o", str(out))
    assert "func.func @f" in out.read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["out.mlir"]


def test_weights_are_read_and_saved(tmp_path):
    (tmp_path / "halve.py").write_text(
        "import dataclasses\n"
        "from secateur.passes.base import Pass\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Halve(Pass):\n"
        "    '''Adds half of each weight.'''\n"
        "    name = 'halve'\n"
        "    def run(self, module, context):\n"
        "        for name, array in list(context.weights.items()):\n"
        "            context.weights.add(name + '/half', array / 2)\n"
    )
    store = WeightStore()
    store["w"] = np.arange(6, dtype=np.float32)
    store.save(tmp_path / "in")
    folders = [f"--weights={tmp_path / 'in'}", f"--save-weights={tmp_path / 'out'}"]
    run("--load-pass=halve:Halve", "--halve", *folders, paths=(tmp_path,))
    saved = WeightStore.open(tmp_path / "out")
    np.testing.assert_array_equal(saved["w/half"], store["w"] / 2)
    np.testing.assert_array_equal(saved["w"], store["w"])


def test_a_pass_of_an_installed_package_is_found_by_entry_point(tmp_path):
    info = tmp_path / "counting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[secateur.passes]\ncount-ops = count_ops:CountOps\n")
    done = run("--count-ops", "--statistics=json", source=TWO_OPS, paths=(EXAMPLES, tmp_path))
    assert "count = 2" in done.stdout
    assert json.loads(done.stderr)["passes"][0]["statistics"] == {"arith.addi": 1, "func.return": 1}
    run("--count-ops", paths=(EXAMPLES,), code=2)


def test_a_broken_entry_point_names_the_class(tmp_path):
    info = tmp_path / "counting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[secateur.passes]\ncount-ops = nowhere:CountOps\n")
    done = run("--count-ops", paths=(tmp_path,), code=2)
    assert "the pass 'count-ops' cannot be loaded: No module named 'nowhere'" in done.stderr
    assert "nowhere" in run("--list-passes", paths=(tmp_path,), code=1).stderr


def test_the_reproducer_is_there_when_the_process_dies(tmp_path):
    (tmp_path / "dying.py").write_text(
        "import dataclasses, os\n"
        "from secateur.passes.base import Pass\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Dying(Pass):\n"
        "    '''Ends the process, as a failed assertion in C++ does.'''\n"
        "    name = 'dying'\n"
        "    def run(self, module, context):\n"
        "        os._exit(77)\n"
    )
    kept = tmp_path / "kept.mlir"
    flags = ["--load-pass=dying:Dying", "--dying", f"--mlir-pass-pipeline-crash-reproducer={kept}"]
    run(*flags, paths=(tmp_path,), code=77)
    run("--run-reproducer", str(kept), paths=(tmp_path,), code=77)


def test_flags_that_change_nothing_are_accepted():
    assert run("--mlir-disable-threading", "--mlir-print-ir-module-scope").stdout == run().stdout


def test_other_inputs_with_another_seed():
    source = (
        "func.func @f(%x: tensor<3xf32>, %y: tensor<3xf32>) -> tensor<3xf32> {\n"
        "  %0 = arith.subf %x, %y : tensor<3xf32>\n"
        "  %1 = arith.addf %0, %x : tensor<3xf32>\n"
        "  return %1 : tensor<3xf32>\n}\n"
    )
    arguments = ["--load-pass=swap_operands:SwapOperands", "--swap-operands", "--check-semantics"]
    inputs = [ROOT / "test" / "lit" / "opt" / "Inputs"]
    said = [run(*arguments, f"--check-seed={seed}", source=source, paths=inputs, code=1).stderr for seed in (1, 2, 1)]
    assert "changes what @f computes" in said[0]
    assert said[0] == said[2] != said[1]


def test_bytecode_is_read(tmp_path):
    path = tmp_path / "f.mlirbc"
    with path.open("wb") as file:
        ir.Module.parse(GOOD, make_context()).operation.write_bytecode(file)
    assert "func.func @f" in run(str(path)).stdout


def test_every_flag_stands_in_a_test():
    lit = "".join(p.read_text() for p in (ROOT / "test" / "lit" / "opt").glob("*.mlir"))
    tests = lit + "".join(p.read_text() for p in Path(__file__).parent.glob("*.py"))
    missing = [n for n in FLAGS if not any(f"{dash}{n}{end}" in tests for dash in ("-", "--") for end in " =\"'\n")]
    assert not missing


def test_a_pass_file_with_a_syntax_error_is_named(tmp_path):
    (tmp_path / "half.py").write_text("class Half(\n")
    assert (
        "--load-pass=half:Half: expected module:Class of a pass"
        in run("--load-pass=half:Half", paths=(tmp_path,), code=2).stderr
    )
