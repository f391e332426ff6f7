"""The house: arrows between folders and files go one way (`[tool.importlinter]`), and files stay small."""

import subprocess
from pathlib import Path

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).resolve().parents[3]
LONGEST = 300


def test_imports_go_one_way(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert lint_imports(no_cache=True) == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_no_file_is_too_long_to_read_at_one_sitting():
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in listed.stdout.split() if not name.startswith("test/")]
    lengths = {str(f.relative_to(ROOT)): len(f.read_text().splitlines()) for f in files if f.exists()}
    assert not {name: count for name, count in lengths.items() if count > LONGEST}
