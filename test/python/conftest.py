"""The command line as a function, for the tests of every folder."""

import io
import json
from typing import Any, NamedTuple

import pytest


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def secateur(capsys, monkeypatch):
    """Runs `secateur` with `arguments` (and the bytes `stdin`) in this process."""

    def run(*arguments, stdin=b""):
        from secateur.compiler.cli import main

        capsys.readouterr()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run
