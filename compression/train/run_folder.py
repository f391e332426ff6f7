"""The folder of a training: what is being trained, checkpoints that survive `kill -9`, and the result.

OUT/checkpoints/job.json            what is trained, and in how many steps
OUT/checkpoints/checkpoint-400/     as the Trainer writes it, and complete.json, the last file to appear
OUT/model.safetensors ...           the result; training.json is the last file to appear
"""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import TrainError

RESULT = "training.json"
_JOB = "job.json"
_COMPLETE = "complete.json"
_KEPT = 2


class RunFolder:
    """The folder `out` of the job that `identity` describes.

    Raises `TrainError` where it holds something else, naming what differs.
    """

    def __init__(self, out: Path, identity: Mapping[str, Any]) -> None:
        self.out = out
        self.checkpoints = out / "checkpoints"
        self.identity = json.loads(json.dumps(identity))
        held = self._held()
        if held is not None and held != self.identity:
            raise TrainError(
                f"'{out}' holds another training ({_difference(held, self.identity)}); name a new folder, or give the"
                " options of that training to go on with it"
            )
        if held is None and out.exists() and (not out.is_dir() or any(p.name != "checkpoints" for p in out.iterdir())):
            raise TrainError(f"'{out}' exists and holds no training; name a new folder")

    def result(self) -> dict[str, Any] | None:
        """`training.json` of a training that has come to its end, else None."""
        return _read(self.out / RESULT)

    def plan(self) -> dict[str, Any] | None:
        """The plan that `begin` wrote, else None."""
        job = _read(self.checkpoints / _JOB)
        return None if job is None else job["plan"]

    def begin(self, plan: Mapping[str, Any]) -> None:
        """Makes the folder and writes the job with its plan."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        write_json(self.checkpoints / _JOB, {"job": self.identity, "plan": dict(plan)})

    def newest(self) -> tuple[Path, dict[str, Any]] | None:
        """The complete checkpoint of the most steps and what `complete` wrote into it. Removes incomplete ones."""
        found = []
        for folder in self._folders():
            values = _read(folder / _COMPLETE)
            if values is None:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                found.append((folder, values))
        return found[-1] if found else None

    def complete(self, step: int, values: Mapping[str, Any]) -> None:
        """Marks the checkpoint of `step` as complete, and removes all but the last two."""
        folder = self.checkpoints / f"checkpoint-{step}"
        for file in folder.iterdir():
            _sync(file)
        write_json(folder / _COMPLETE, {"step": step, **values})
        _sync(self.checkpoints)
        for old in self._folders()[:-_KEPT]:
            (old / _COMPLETE).unlink(missing_ok=True)
            shutil.rmtree(old, ignore_errors=True)

    def finish(self, module: Any, tokenizer: Any, record: Mapping[str, Any]) -> dict[str, Any]:
        """Writes the result: model, tokenizer, then `training.json`, which it returns; the checkpoints go."""
        scratch = self.checkpoints / "result"
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            module.save_pretrained(scratch)
            if tokenizer is not None:
                tokenizer.save_pretrained(scratch)
        except Exception as error:
            raise not_written(error, self.out) from error
        for file in sorted(scratch.iterdir()):
            _sync(file)
            file.replace(self.out / file.name)
        write_json(self.out / RESULT, {**record, "job": self.identity})
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        return self.result() or {}

    def _folders(self) -> list[Path]:
        found = [(int(match[1]), folder) for folder in self.checkpoints.glob("checkpoint-*")
                 if (match := re.fullmatch(r"checkpoint-([0-9]+)", folder.name))]  # fmt: skip
        return [folder for _, folder in sorted(found)]

    def _held(self) -> dict[str, Any] | None:
        for path in (self.out / RESULT, self.checkpoints / _JOB):
            values = _read(path)
            if values is not None:
                return values["job"]
        return None


def not_written(error: Exception, folder: Path) -> TrainError:
    """What is said where something cannot be written: libraries raise errors of many kinds for a full disk."""
    reason = str(error).strip().split("\n")[0]
    return TrainError(
        f"'{folder}' cannot be written to ({reason}); the last complete checkpoint stays: make room and run the same"
        " command again"
    )


def write_json(path: Path, value: Any) -> None:
    """Writes a file that is whole or absent, also after a power cut."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
        _sync(scratch)
        scratch.replace(path)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        scratch.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, NotADirectoryError) as error:
        raise TrainError(f"'{path}' cannot be read ({error}); remove its folder or name another") from None


def _sync(path: Path) -> None:
    # A folder can be synced on POSIX only.
    with contextlib.suppress(PermissionError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _difference(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    names = [name for name in {**held, **wanted} if held.get(name) != wanted.get(name)]
    if not names:
        return "described in another way"
    shown = [f"{name.replace('_', ' ')} {held.get(name)}, now {wanted.get(name)}" for name in names[:3]]
    return "; ".join(shown)
