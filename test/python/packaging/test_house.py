"""The house: arrows between folders and files go one way (`[tool.importlinter]`), and files stay small."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LONGEST = 300


def test_imports_go_one_way():
    # In a process of its own, because the linter sets up logging for the whole of it.
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kept, 0 broken" in done.stdout


def test_no_file_is_too_long_to_read_at_one_sitting():
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in listed.stdout.split() if not name.startswith("test/")]
    lengths = {str(f.relative_to(ROOT)): len(f.read_text().splitlines()) for f in files if f.exists()}
    assert lengths
    assert not {name: count for name, count in lengths.items() if count > LONGEST}
