"""What docs/search.md says is run: the search and the controller in it."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from secateur.benchmarks.search_controllers import NAMES
from secateur.compression.search.controllers import CONTROLLERS

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "search.md").read_text()
PROGRAM, CONTROLLER = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def _run(folder, program=PROGRAM):
    (folder / "tiles.py").write_text(program)
    done = subprocess.run([sys.executable, "tiles.py"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_search_finds_the_best_tile(tmp_path):
    # All 18 tiles that fit are tried at most: the best of them that keeps 24 registers.
    assert _run(tmp_path, PROGRAM.replace("candidates=12", "candidates=100")) == "{'rows': 16, 'columns': 16}"
    assert (tmp_path / "tiles" / "journal.jsonl").exists()


def test_a_controller_in_thirty_lines(tmp_path):
    assert len(CONTROLLER.splitlines()) <= 30 and len(PROGRAM.splitlines()) <= 40
    (tmp_path / "climb.py").write_text(CONTROLLER)
    program = PROGRAM.replace('"genetic"', '"climb:Climb"').replace("candidates=12", "candidates=18")
    assert _run(tmp_path, program) == "{'rows': 16, 'columns': 16}"


def test_the_page_names_what_there_is():
    for name in (*CONTROLLERS, *NAMES):
        assert f"`{name}`" in PAGE


@pytest.mark.parametrize("line", re.findall(r"^secateur search .*$", PAGE, re.MULTILINE))
def test_commands_are_taken(line, secateur):
    names = [word for word in shlex.split(line) if word.startswith("--")]
    help = secateur("search", "--help").out
    assert all(name in help for name in names), names
