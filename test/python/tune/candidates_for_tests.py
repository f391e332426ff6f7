"""What worker processes of the tests call in place of compiling and timing; imported by them alone."""

import ctypes
import os
import time
from pathlib import Path

from secateur.compiler.tune.candidate import Compiled
from secateur.compiler.tune.errors import CandidateError


def echo(value):
    return value, os.getpid()


def refuse(kind, message):
    raise CandidateError(kind, message)


def crash():
    ctypes.string_at(0)


def abort():
    os.abort()


def leave(*_):
    os._exit(3)


def hang():
    while True:
        time.sleep(1)


def take_memory():
    return len(bytearray(1 << 40))


def raise_error():
    raise ZeroDivisionError("one")


def start_child_and_hang(path):
    import subprocess

    child = subprocess.Popen(["sleep", "1000"])
    Path(path).write_text(str(child.pid))
    hang()


def compile_fake(task, schedule, panel, target, workers):
    """Compiles nothing; some schedules end the process in one of the ways in which candidates do."""
    kind = {5: "crash", 3: "hang", 2: "memory"}.get(schedule["row_tile"])
    if kind == "crash":
        crash()
    if kind == "hang":
        hang()
    if kind == "memory":
        take_memory()
    return compile_quick(task, schedule, panel, target, workers)


def compile_quick(task, schedule, panel, target, workers):
    time.sleep(0.01)
    return Compiled("-".join(f"{k}{v}" for k, v in sorted(schedule.items())), str(task))


def measure_fake(task, threads, candidate, incumbent, stages=()):
    """The taller the tile the faster, and fewer workgroups are better."""
    ms, incumbent_ms = _cost(candidate.digest), _cost(incumbent.digest)
    return {"ratio": ms / incumbent_ms, "ms": ms, "incumbent_ms": incumbent_ms, "runs": 1, "whole": True}


def _cost(digest):
    names = {part.rstrip("0123456789"): part for part in digest.split("-")}
    values = {name: int(part.removeprefix(name)) for name, part in names.items()}
    if values["row_tile"] == 6:
        raise CandidateError("wrong", "its numbers are not the reference's")
    return 10.0 / values["row_tile"] + 0.01 * values["workgroups"]


def measure_in_turn(task, threads, candidate, incumbent, stages=()):
    """Fails where another measurement runs at the same time, in whatever process."""
    marker = Path(os.environ["SECATEUR_RECORDS"]) / "measuring"
    try:
        descriptor = os.open(marker, os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        (marker.parent / "overlap").touch()
        raise
    time.sleep(0.02)
    os.close(descriptor)
    marker.unlink()
    return measure_fake(task, threads, candidate, incumbent, stages)
