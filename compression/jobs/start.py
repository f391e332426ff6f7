"""What a training that prunes begins with, kept in its folder."""

import json
import shutil
from pathlib import Path
from typing import Any

from secateur.compression.train.run_folder import write_json


class Start:
    """What a training begins with, kept in its folder, so that a stopped one need not prune and measure again."""

    def __init__(self, out: Path, key: str) -> None:
        self._out, self._folder, self._key = out, out / "checkpoints" / "start", key

    def read(self) -> dict[str, Any] | None:
        """What `write` wrote, also where the training has come to its end; None where there is none of this key."""
        values = _read(self._folder / "start.json")
        if values is not None and values["key"] == self._key:
            return {name: value for name, value in values.items() if name != "key"}
        finished = _read(self._out / "training.json")
        return finished["notes"] if finished is not None and finished["job"]["start"] == self._key else None

    def is_of_another(self) -> bool:
        """Whether another training has the folder."""
        held = _read(self._out / "training.json") or _read(self._folder.parent / "job.json")
        return held is not None and held["job"]["start"] != self._key

    def write(self, module: Any, values: dict[str, Any]) -> dict[str, Any]:
        """Keeps the module's weights and `values`."""
        from safetensors.torch import save_file

        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        save_file(
            {n: t.contiguous().clone() for n, t in module.state_dict().items()}, self._folder / "start.safetensors"
        )
        write_json(self._folder / "start.json", {**values, "key": self._key})
        return values

    def load(self, module: Any) -> None:
        """Gives the module the weights."""
        from safetensors.torch import load_file

        file = self._folder / "start.safetensors"
        # A finished training brings its own weights.
        if file.is_file():
            module.load_state_dict(load_file(file))


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
