"""Two processes and one folder."""

import subprocess
import sys

import pytest

from secateur.compression.train import TrainError
from secateur.compression.train.folder_lock import locked_folder

HOLD = """
import sys
from pathlib import Path
from secateur.compression.train.folder_lock import locked_folder
with locked_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_one_process_until_it_ends_or_dies(tmp_path):
    out = tmp_path / "out"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, out], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        (tmp_path / "alias").symlink_to(out)
        for name in (out, tmp_path / "alias"):
            with pytest.raises(TrainError, match="another process is writing"), locked_folder(name):
                pytest.fail("held twice")
    finally:
        holder.kill()
        holder.communicate()
    with locked_folder(out), locked_folder(out):
        pass
    assert not list(out.iterdir())
