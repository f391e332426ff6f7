"""Runs one model on one engine, in the engine's own interpreter; the program at the other end of `process`.

    python -P worker.py ADAPTER FOLDER THREADS OUTPUTS PRECISION

loads the adapter (a Python file with `load(model) -> run`, `run() -> arrays`), runs the model of FOLDER once, writes
what came out to OUTPUTS (`.npz`) and answers `{"load_seconds": ...}`. From then on each line `N` on standard input is
answered by `{"seconds": [S, ...]}`, what each of N runs took, and each line `{"predict": [IN, OUT]}` by `{}` when the
rows of the arrays in IN have been run one by one and their outputs are in OUT. It ends with its standard input. A
failure is answered by `{"error": sentence}` and ends it too. Standard output holds these lines of JSON only; all else
goes to standard error.
"""

import dataclasses
import functools
import importlib.util
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

# Runs that ranges of activations are taken from, where no calibration inputs come with the model.
SAMPLES = 32


@dataclasses.dataclass(frozen=True)
class Model:
    """What an adapter gets: a folder made by `model_files.write_model`, the number of threads to run on, and what to
    compute in (`Peer.precision`)."""

    folder: Path
    threads: int
    precision: str = "f32"

    @functools.cached_property
    def inputs(self) -> dict[str, np.ndarray]:
        """The inputs by name, in the order of the model's arguments. Their arrays are overwritten: a run reads them."""
        with np.load(self.folder / "inputs.npz") as arrays:
            return {name: arrays[name] for name in arrays.files}

    def calibration(self) -> list[dict[str, np.ndarray]]:
        """Inputs by name, to find the ranges of activations on: the rows of `calibration.npz`, or permutations of the
        tokens of the model's one input.
        """
        given = self.folder / "calibration.npz"
        if given.exists():
            with np.load(given) as arrays:
                rows = {name: arrays[name] for name in self.inputs}
            return [{name: array[i : i + 1] for name, array in rows.items()} for i in range(len(rows["input_ids"]))]
        rng, ids = np.random.default_rng(0), self.inputs["input_ids"]
        return [{**self.inputs, "input_ids": rng.permuted(ids, axis=-1)} for _ in range(SAMPLES)]

    def program(self) -> Any:
        """The model as a `torch.export.ExportedProgram` with positional inputs and a tuple of outputs."""
        import torch

        return torch.export.load(self.folder / "model.pt2")

    def tensors(self) -> tuple[Any, ...]:
        """The inputs as torch tensors."""
        import torch

        return tuple(torch.from_numpy(array) for array in self.inputs.values())

    def converted(self, name: str, convert: Callable[[Path], object]) -> Path:
        """The file `name` of the folder; `convert(path)` makes it where it is missing, whole or not at all."""
        path = self.folder / name
        if not path.exists():
            new = self.folder / f"new-{os.getpid()}-{name}"
            convert(new)
            new.rename(path)
        return path


def load_adapter(path: Path) -> Any:
    """The module in the file `path`, under a name that hides no package (`onnxruntime.py` imports onnxruntime)."""
    spec = importlib.util.spec_from_file_location("adapter", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def versions(names: tuple[str, ...]) -> dict[str, str]:
    """Installed versions by package."""
    return {name: metadata.version(name) for name in names}


def _predict(model: Model, run: Callable[[], Any], asked: Path, found: Path) -> None:
    """Runs the rows of the arrays in `asked` one by one; writes the outputs of all, by position, to `found`."""
    with np.load(asked) as arrays:
        rows = {name: arrays[name] for name in arrays.files}
    outputs = []
    for row in range(len(next(iter(rows.values())))):
        for name, array in model.inputs.items():
            array[...] = rows[name][row : row + 1]
        outputs.append([np.array(output) for output in run()])
    np.savez(found, *(np.concatenate(some) for some in zip(*outputs, strict=True)))


def main(arguments: list[str]) -> int:
    # Engines print to standard output; the protocol gets a copy of it, and they get standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    try:
        adapter = load_adapter(Path(arguments[0]))
        began = time.perf_counter()
        model = Model(Path(arguments[1]), int(arguments[2]), arguments[4])
        run = adapter.load(model)
        loaded = time.perf_counter()
        outputs = [np.asarray(array) for array in run()]
        first_run_seconds = time.perf_counter() - loaded
        np.savez(arguments[3], *outputs)
        found = versions(getattr(adapter, "PACKAGES", ()))
        answer(load_seconds=loaded - began, first_run_seconds=first_run_seconds, versions=found)
        for line in sys.stdin:
            request, seconds = json.loads(line), []
            if isinstance(request, dict):
                _predict(model, run, *map(Path, request["predict"]))
                answer()
                continue
            for _ in range(request):
                began = time.perf_counter()
                run()
                seconds.append(time.perf_counter() - began)
            answer(seconds=seconds)
    except Exception as error:
        traceback.print_exc()
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        answer(error=f"{type(error).__name__}: {lines[0] if lines else 'no message'}"[:300])
        return 1
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    # Some engines crash while they are taken down; nothing is left to do.
    sys.stderr.flush()
    os._exit(code)
