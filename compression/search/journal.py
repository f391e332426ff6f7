"""The journal of a search: one file, one JSON object a line, added to and never rewritten.

    {"kind": "search", "format": 1, "space": "a3f1...", "goals": [...], "seed": 0, ...}     what is searched, first line
    {"kind": "candidate", "number": 7, "candidate": {"heads": 4, ...}}                      was proposed
    {"kind": "claim", "number": 7, "stage": "error", "driver": "pc:812:55", "holds": 45}   is being evaluated
    {"kind": "alive", "driver": "pc:812:55", "holds": 45}                                   the claims of a driver hold
    {"kind": "result", "number": 7, "stage": "error", "figures": {...}, "seconds": 3.2}     came of it

Lines are written with one call under an exclusive lock of the file and brought to the disk, so that a process that is
killed at any moment loses what it was evaluating and nothing else: readers pass over what it left of a line, and the
next writer closes it off. A claim holds, on the driver's own machine, while its process lives; elsewhere as many
seconds as its driver said last, counted by the reader from when the line was read. So clocks of machines need not
agree. Times in the journal go on from the latest, whoever's clock it was.

Why not Optuna's storages: candidates have several stages, each claimed by itself; a trial that its process left stays
"running" there until someone says otherwise; and most controllers here are not Optuna's. `export.py` writes a journal
of Optuna's for optuna-dashboard.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import SearchError
from .measurement import Measurement
from .space import Choice

FORMAT = 1
HEARTBEAT, LEASE = 10.0, 45.0
"""Seconds between two signs of life of a driver, and after which one without them is taken for gone."""
Line = dict[str, Any]
Key = tuple[int, str]
"""A candidate's number and a stage."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """A driver evaluates a candidate; `place`: the device that it measures on, which it has for itself."""

    driver: str
    place: str | None


def driver_name() -> str:
    """A name for this process: the machine, the process, and when it started, since numbers of processes come again."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def _started(process: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    return "0"


def _is_gone(driver: str, until: float) -> bool:
    """Whether a driver has ended: of this machine its process, of another one the moment `until` which it is heard of
    (`time.monotonic` of this process; 0: it said that it ended)."""
    host, process, started = driver.rsplit(":", 2)
    if host != socket.gethostname() or not until:
        return until < time.monotonic()
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return _started(int(process)) != started


class Journal:
    """The journal at `path`, which need not exist. Nothing is read before `refresh` or `locked`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header: Line | None = None
        self.candidates: dict[int, dict[str, Choice]] = {}
        self.results: dict[Key, Measurement] = {}
        self.order: list[Key] = []
        """The keys of `results`, in the order in which they were written."""
        self.times: dict[Key, float] = {}
        """When each result was written, in seconds that drivers had worked by then."""
        self.seconds = 0.0
        """Seconds that drivers worked: those between two lines, unless nobody was there."""
        self._claims: dict[Key, Claim] = {}
        self._alive: dict[str, float] = {}
        self._read, self._last_time, self._ahead = 0, 0.0, 0.0

    @contextlib.contextmanager
    def locked(self) -> Iterator["Journal"]:
        """Nobody else writes within the block; what others wrote has been read. Raises `SearchError` where the file
        cannot be written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = self.path.open("ab", buffering=0)
        except OSError as error:
            raise SearchError(f"the journal '{self.path}' cannot be written: {error.strerror or error}") from None
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.refresh()
            yield self

    def append(self, lines: list[Line]) -> None:
        """Adds lines, within `locked`; the time is added to each, and is never before that of the last line."""
        self._ahead = max(self._ahead, self._last_time - time.time())
        now = time.time() + self._ahead
        text = b"".join(json.dumps({**line, "time": round(now, 3)}, allow_nan=False).encode() + b"\n" for line in lines)
        with self.path.open("r+b", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            if end > self._read:
                # The last writer was killed within its line.
                text = b"\n" + text
            while text:
                text = text[file.write(text) :]
            os.fsync(file.fileno())
        self.refresh()

    def refresh(self) -> None:
        """Reads the lines that were added. Raises `SearchError` for a journal of another version."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._read)
                text = file.read()
        except FileNotFoundError:
            return
        end = text.rfind(b"\n") + 1
        self._read += end
        for line in text[:end].split(b"\n"):
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict) and isinstance(value.get("kind"), str):
                self._take(value)

    def _take(self, line: Line) -> None:
        kind = line["kind"]
        if kind == "search":
            if line.get("format") != FORMAT:
                raise SearchError(
                    f"the journal '{self.path}' has format {line.get('format')}, found by a version that reads"
                    f" format {FORMAT}; name another folder, or search with the version that wrote it"
                )
            self.header = self.header or line
        elif self.header is None:
            raise SearchError(f"'{self.path}' is no journal of a search: its first line does not say what is searched")
        self._pass(float(line.get("time", self._last_time)))
        # A line that lacks something is one that was torn.
        with contextlib.suppress(KeyError, TypeError):
            self._note(kind, line)

    def _note(self, kind: str, line: Line) -> None:
        if kind == "candidate":
            self.candidates.setdefault(line["number"], line["candidate"])
        elif kind == "claim":
            self._claims[line["number"], line["stage"]] = Claim(line["driver"], line.get("place"))
            self._hear(line)
        elif kind == "alive":
            self._hear(line)
        elif kind == "result":
            key = (line["number"], line["stage"])
            found = Measurement(line["figures"], line.get("failure"), line["seconds"])
            self._claims.pop(key, None)
            if key not in self.results:
                self.results[key] = found
                self.times[key] = self.seconds
                self.order.append(key)

    def _hear(self, line: Line) -> None:
        holds = float(line.get("holds", LEASE))
        self._alive[line["driver"]] = time.monotonic() + holds if holds > 0 else 0.0

    def _pass(self, now: float) -> None:
        if self._last_time:
            gap = now - self._last_time
            # Longer than a driver is ever silent: nobody worked.
            self.seconds += gap if 0 <= gap <= 3 * HEARTBEAT else 0.0
        self._last_time = max(now, self._last_time)

    def claims(self) -> Mapping[Key, Claim]:
        """What is being evaluated, by drivers that live."""
        gone: dict[str, bool] = {}
        for claim in self._claims.values():
            if claim.driver not in gone:
                gone[claim.driver] = _is_gone(claim.driver, self._alive[claim.driver])
        self._claims = {key: claim for key, claim in self._claims.items() if not gone[claim.driver]}
        return self._claims

    def begin(self, header: Line) -> None:
        """Writes what is searched as the first line, or compares it with what the journal is of.

        Raises `SearchError` where that differs in one of the values of `header`.
        """
        with self.locked():
            if self.header is None:
                self.append([{"kind": "search", "format": FORMAT, **header}])
        assert self.header is not None
        # As the file has it: JSON knows no tuples.
        wanted = json.loads(json.dumps(header))
        for name, value in wanted.items():
            if self.header.get(name) != value:
                raise SearchError(
                    f"the journal '{self.path}' is of another search: its {name} is {_said(self.header.get(name))}, "
                    f"found {_said(value)}; name another folder to search anew, or search as it did",
                    usage=True,
                )


def _said(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
