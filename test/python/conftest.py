"""The command line as a function, and quick machine code, for the tests of every folder."""

import io
import json
import signal
from typing import Any, NamedTuple

import pytest

# A shell gives what it starts in the background a SIGINT that is ignored, and so to all children: tests that press
# Ctrl-C would wait for nothing.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
        from secateur.commands import main

        capsys.readouterr()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session", autouse=True)
def quick_machine_code():
    """Tests run code once or twice on few numbers: optimizing it would take longer than all runs."""
    from secateur.compiler.semantics import engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "OPTIMIZATION", 0)
        yield
