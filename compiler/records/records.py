"""Records of tuning: one file per target, one JSON object a line, added to and never rewritten.

A line is written with one call under an exclusive lock of the file and brought to the disk before the next, so that of
several tuners none tears another's line, and a tuner that is killed loses the trial it was in and nothing else: what it
left of a line is passed over by readers and closed off by the next writer. Locks are the system's (`flock`): it takes
them back when their process ends, however it ends.

Why not Optuna's storages: passes read these records, and passes import no Optuna; two files are merged by writing one
behind the other, which is what a bundle's records need; and a killed process leaves no trial that is said to run.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import platform
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.dialects.user_folders import user_folder
from secateur.passes.scheduled.schedule_records import FORMAT, code_generator, parse_line, read_lines, record_key

from .digest import digest_of
from .errors import TuneError
from .objective import TIME, objective_of

if TYPE_CHECKING:
    from secateur.runtime_targets.targets import Target

Record = dict[str, Any]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")


def records_folder() -> Path:
    """`$SECATEUR_RECORDS`, or `secateur/records` in `$XDG_DATA_HOME` (by default `~/.local/share`)."""
    chosen = os.environ.get("SECATEUR_RECORDS", "")
    if chosen:
        return Path(chosen).expanduser()
    return user_folder("XDG_DATA_HOME") / "secateur" / "records"


def machine_of(target: "Target") -> str:
    """A name for the machines that share records: the target with all that its code and its speed depend on."""
    whole = [target.architecture, target.cpu_features, target.iree_flags, target.description]
    # A colon is no part of a file's name everywhere.
    return f"{target.name.replace(':', '.')}-{digest_of(*whole)[:12]}"


@dataclasses.dataclass(frozen=True)
class RecordsFile:
    """The records of one target. `path` need not exist yet."""

    path: Path

    @classmethod
    def of(cls, target: "Target", folder: Path | None = None) -> "RecordsFile":
        """The file for `target`."""
        return cls((folder or records_folder()) / f"{machine_of(target)}.jsonl")

    @property
    def machine(self) -> str:
        """The machines whose records the file holds."""
        return self.path.stem

    def read(self) -> Iterator[Record]:
        """The records that are of this machine, in the order they were written."""
        return (r for r in read_lines(self.path) if r.get("machine") == self.machine)

    def usable(self) -> list[Record]:
        """The records that were made with the tools of this installation."""
        return [r for r in self.read() if r["tools"] == code_generator()]

    def chosen(self) -> dict[str, Record]:
        """Key -> what tuning chose last, of the usable records; what was timed comes before what was counted."""
        chosen = [r for r in self.usable() if r["kind"] == "chosen"]
        return {r["key"]: r for r in sorted(chosen, key=lambda r: objective_of(r) == TIME.name)}

    def add(self, records: Iterable[Record]) -> None:
        """Appends `records`. Raises `TuneError` where the file cannot be written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                for record in records:
                    _append(file.fileno(), self.path, line_of(record))
                os.fsync(file.fileno())
        except OSError as error:
            raise TuneError(f"the records '{self.path}' cannot be written: {error.strerror or error}") from None

    def merge(self, lines: Iterable[bytes]) -> int:
        """Adds the records among `lines` that are of this machine and that the file lacks; returns their number."""
        found = [r for r in map(parse_line, lines) if r is not None and r.get("machine") == self.machine]
        known = {line_of(r) for r in self.read()}
        new = [r for r in found if line_of(r) not in known]
        self.add(new)
        return len(new)


def line_of(record: Record) -> bytes:
    """The one text of a record, with its end of line."""
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _append(descriptor: int, path: Path, line: bytes) -> None:
    size = os.fstat(descriptor).st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 1))
        # The last writer was killed within its line.
        torn = size > 0 and file.read(1) != b"\n"
    data = b"\n" + line if torn else line
    while data:
        data = data[os.write(descriptor, data) :]


def merge_lines(data: bytes, folder: Path | None = None) -> dict[str, int]:
    """Adds records of any machines to the files of these machines; returns how many were new, by machine.

    Lines that are no records, or whose machine is no name, are passed over.
    """
    by_machine: dict[str, list[bytes]] = {}
    for line in data.split(b"\n"):
        record = parse_line(line)
        machine = record.get("machine") if record is not None else None
        if isinstance(machine, str) and _NAME.fullmatch(machine):
            by_machine.setdefault(machine, []).append(line)
    folder = folder or records_folder()
    return {machine: RecordsFile(folder / f"{machine}.jsonl").merge(lines) for machine, lines in by_machine.items()}


def new_record(kind: str, machine: str, op: dict[str, Any], target: str, **values: Any) -> Record:
    """A record of `kind` (`trial`: a candidate was tried; `chosen`: the best was chosen) for an op as it is now."""
    tools = code_generator()
    return {
        "format": FORMAT,
        "kind": kind,
        "key": record_key(op, target, tools),
        "machine": machine,
        "op": op,
        "target": target,
        "tools": tools,
        "processor": _processor(),
        **values,
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or platform.machine()


@contextlib.contextmanager
def timing_lock(folder: Path | None = None) -> Iterator[None]:
    """Held while a candidate is timed: of all tuners of this user on this machine one times at any moment."""
    folder = folder or records_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".timing.lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
