"""A compiled model that can be called and saved. Needs no PyTorch unless it is given tensors."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.compiler.errors import CompileError
from secateur.dialects.scratch import ScratchFolder
from secateur.runtime_targets.output_form import as_returned
from secateur.runtime_targets.token_count import given_by_caller

from .report import Report, TargetReport

if TYPE_CHECKING:
    from secateur.runtime_targets.bundle import Bundle
    from secateur.runtime_targets.generation import Generator
    from secateur.runtime_targets.manifest import Manifest, TensorSpec
    from secateur.runtime_targets.runner import Runner

    from .memory import PeakMemory


class CompiledModel:
    """What `compile_model` returns.

    Call it as the module: `model(input_ids=ids, attention_mask=mask)` or by position, with NumPy arrays or torch
    tensors; torch tensors give torch tensors. Sequences and batches may be shorter than those it was compiled for.
    `report` tells what was found and measured; `ir` is the text of the level that `compile_to` asked for.
    """

    def __init__(
        self,
        bundle: "Bundle | None",
        report: Report,
        ir: str = "",
        keep: "ScratchFolder | None" = None,
    ) -> None:
        """`keep` is a folder that lives as long as the model: the one with the bundle of an uncached compilation."""
        self.report = report
        self.ir = ir
        self._bundle = bundle
        self._keep = keep
        self._runner: Runner | None = None

    @classmethod
    def open(cls, path: str | os.PathLike[str], threads: int = 1) -> "CompiledModel":
        """Loads a saved bundle. Raises `BundleError` where it is damaged or was not made for this machine."""
        from secateur.runtime_targets.bundle import open_bundle

        bundle = open_bundle(Path(path))
        return cls(bundle, Report(threads, [TargetReport(bundle.target().name)], level="iree"))

    @property
    def inputs(self) -> "tuple[TensorSpec, ...]":
        """Name, largest shape and type of every input, and which of its axes may be shorter."""
        return tuple(given_by_caller(self._opened().manifest.function().inputs))

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs, in the module's order."""
        return [spec.name for spec in self.inputs]

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, in the module's order."""
        return [spec.name for spec in self._opened().manifest.function().outputs]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the model; returns what the module returns: one tensor, a tuple, or a dict by output name.

        Tuples within a tuple are kept, with None where the module has no tensor. A dict is flat: `hidden_states.0`.
        """
        names = self.input_names
        if len(args) > len(names):
            raise TypeError(f"expected at most {len(names)} inputs ({', '.join(names)}), found {len(args)}")
        given = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            if name in given:
                raise TypeError(f"input '{name}' is given twice")
            given[name] = value
        arrays, from_torch = _to_numpy(given)
        outputs: dict[str, Any] = self.run(arrays)
        if from_torch:
            import torch

            outputs = {name: torch.from_numpy(array) for name, array in outputs.items()}
        return as_returned(outputs, self._opened().manifest.function().output_form)

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs the model on NumPy arrays by input name; arrays by output name.

        As in Hugging Face models, a missing attention mask is one everywhere and missing token types are zero.
        """
        return self._loaded().run(_with_defaults(arrays, self.input_names))

    def generator(self) -> "Generator":
        """Generates tokens with a model that was compiled with a `context`. Raises `GenerationError` for others."""
        from secateur.runtime_targets.generation import Generator

        return Generator(self._loaded())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the bundle: a folder, or one file where `path` ends in `.zip`. It is written whole or not at all."""
        self._opened().save(Path(path))

    def peak_memory(self) -> "dict[str, PeakMemory]":
        """Target -> memory of a process of its own that runs it once; of the targets that run on this machine's CPU."""
        from secateur.runtime_targets.bundle import unfit

        from .memory import peak_memory

        bundle = self._opened()
        fitting = [t.name for t in bundle.manifest.targets if t.backend != "vulkan" and unfit(t) is None]
        measured = {name: peak_memory(bundle.folder, name, self.report.threads) for name in fitting}
        return {name: peak for name, peak in measured.items() if peak is not None}

    @property
    def manifest(self) -> "Manifest":
        """What the bundle says of itself: inputs, layers, the work of every dispatch, files."""
        return self._opened().manifest

    def _loaded(self) -> "Runner":
        if self._runner is None:
            self._runner = self._opened().runner(threads=self.report.threads)
        return self._runner

    def _opened(self) -> "Bundle":
        if self._bundle is None:
            raise CompileError(f"the model was compiled to level '{self.report.level}' only; it can run from 'iree' on")
        return self._bundle


def _with_defaults(arrays: Mapping[str, np.ndarray], names: list[str]) -> dict[str, np.ndarray]:
    given = dict(arrays)
    for name, fill in (("attention_mask", np.ones_like), ("token_type_ids", np.zeros_like)):
        if name in names and name not in given and "input_ids" in given:
            given[name] = fill(given["input_ids"])
    return given


def _to_numpy(given: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], bool]:
    arrays, from_torch = {}, False
    for name, value in given.items():
        if hasattr(value, "detach"):
            from_torch, value = True, value.detach().cpu().numpy()
        arrays[name] = np.asarray(value)
    return arrays, from_torch
