"""Evaluators for tests of drivers; processes import them from here."""

import ctypes
import dataclasses
import mmap
import os
import time
from pathlib import Path

import numpy as np

from secateur.compression.search.measurement import Measurement, Objective, Stage


def _choices(candidate):
    return [candidate[f"d{n}"] for n in range(5)]


@dataclasses.dataclass(frozen=True)
class Smooth:
    """The figures of `tables.py` in two stages, and a third whose figure is the loss again, turned by a little.

    `seconds` that each stage takes; the first measures on `target`; each evaluation adds a line to the file `log`.
    `fickle`: the third stage changes the loss, and fails for some.
    """

    log: str | None = None
    seconds: float = 0.0
    target: str | None = "here"
    fickle: bool = False

    @property
    def stages(self):
        return (
            Stage("cost", target=self.target),
            Stage("loss", Objective("loss")),
            Stage("trained", Objective("trained"), seconds=30.0),
        )

    def evaluate(self, candidate, stage):
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{stage} {_choices(candidate)} {os.getpid()}\n")
        time.sleep(self.seconds)
        from tables import figures

        found = figures(candidate)
        if stage == "trained" and self.fickle:
            failure = "it cannot be trained" if candidate["d0"] else None
            return Measurement({"trained": 1.0, "loss": 100 - found["loss"]}, failure)
        if stage == "trained":
            return Measurement({"trained": found["loss"] + 0.01 * candidate["d0"]})
        return Measurement({stage: found[stage]})


@dataclasses.dataclass(frozen=True)
class Hostile:
    """Candidates that crash, hang, eat memory (of their own, with children, shared), return no number, no figures, or
    raise, by the choice of `d0`."""

    seconds: float = 3.0

    @property
    def stages(self):
        return (Stage("loss", Objective("loss"), seconds=self.seconds),)

    def evaluate(self, candidate, stage):
        kind = candidate["d0"]
        if kind == "crash":
            ctypes.string_at(0)
        elif kind == "hang":
            time.sleep(3600)
        elif kind == "memory":
            found = [np.ones(1 << 28) for _ in range(20)]
            return Measurement({"loss": float(len(found))})
        elif kind == "forty":
            # What it asks for counts, without being touched.
            np.empty(40 << 30, np.uint8)
        elif kind == "children":
            for _ in range(4):
                if os.fork() == 0:
                    # Of a session of its own, with a parent that has ended.
                    if os.fork():
                        os._exit(0)
                    os.setsid()
                    _ = np.ones(50 << 20)
                    time.sleep(3600)
            time.sleep(3600)
        elif kind == "shared":
            with mmap.mmap(-1, 3 << 29) as memory:
                memory.write(bytes(3 << 27))
                for _ in range(3):
                    memory.write(bytes(3 << 27))
                time.sleep(3600)
        elif kind == "nan":
            return Measurement({"loss": float("nan")})
        elif kind == "nothing":
            return Measurement({})
        elif kind == "raise":
            raise ValueError("no such layer\nand more")
        elif kind == "refuse":
            return Measurement({}, "it does not fit")
        elif kind == "exit":
            os._exit(3)
        return Measurement({"loss": 1.0})
