"""Runs a model for a task: a PyTorch module, or a compiled bundle."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .task import Arrays, TaskError

if TYPE_CHECKING:
    import torch


class TorchPredictor:
    """A PyTorch module as a function of NumPy arrays, on the device of its parameters, in evaluation mode."""

    batch = 32
    window: int | None = None

    def __init__(self, module: "torch.nn.Module") -> None:
        import inspect

        self._module = module
        parameters = inspect.signature(module.forward).parameters.values()
        self._accepted = {p.name for p in parameters}
        self._all = any(p.kind is p.VAR_KEYWORD for p in parameters)

    def __call__(self, arrays: Arrays) -> Arrays:
        """Outputs that are tensors, as float32 arrays by name. Inputs that the module does not know are left out."""
        import torch

        device = next((p.device for p in self._module.parameters()), torch.device("cpu"))
        given = {n: torch.from_numpy(a).to(device) for n, a in arrays.items() if self._all or n in self._accepted}
        was_training = self._module.training
        self._module.eval()
        try:
            with torch.inference_mode():
                outputs = self._module(**given)
        finally:
            self._module.train(was_training)
        return {n: v.float().cpu().numpy() for n, v in outputs.items() if isinstance(v, torch.Tensor)}


class BundlePredictor:
    """A bundle as a function of NumPy arrays. `batch` and `window` are the largest that it was compiled for; `labels`
    are a classifier's, empty where the bundle tells none."""

    def __init__(self, path: str | os.PathLike[str], threads: int = 1) -> None:
        from secateur.compiler.build.compiled_model import CompiledModel

        self._model = CompiledModel.open(path, threads=threads)
        ids = next((spec for spec in self._model.inputs if spec.name == "input_ids"), None)
        if ids is None or len(ids.shape) != 2:
            raise TaskError(
                f"'{path}' takes {', '.join(self._model.input_names)}; expected 'input_ids' of shape [batch, tokens]"
            )
        self.batch, self.window = ids.shape
        self.labels = next((spec.labels for spec in self._model.manifest.function().outputs if spec.labels), ())
        self._names = set(self._model.input_names)

    def __call__(self, arrays: Arrays) -> Arrays:
        """Outputs by name. Inputs that the bundle does not have are left out."""
        return self._model.run({name: array for name, array in arrays.items() if name in self._names})


def torch_predict(module: "torch.nn.Module") -> TorchPredictor:
    """`predict` of `Task.evaluate` for a PyTorch module of transformers. It may be called while the module trains."""
    return TorchPredictor(module)


def bundle_predict(path: str | os.PathLike[str], threads: int = 1) -> BundlePredictor:
    """`predict` of `Task.evaluate` for a bundle. Raises `BundleError`, or `TaskError` where it takes no token ids."""
    return BundlePredictor(path, threads)


def load_tokenizer(folder: str | os.PathLike[str]) -> Any:
    """The fast tokenizer in a Hugging Face folder, or in a bundle (folder or `.zip`). Raises `TaskError`."""
    from secateur.frontends.hub import model_folder

    path = model_folder(folder)
    if path.is_file() or (path / "manifest.json").is_file():
        from secateur.runtime_targets.bundle import open_bundle

        with open_bundle(path) as bundle:
            return _tokenizer(bundle.folder / "tokenizer", path)
    return _tokenizer(path, path)


def _tokenizer(folder: Path, shown: Path) -> Any:
    from transformers import AutoTokenizer

    names = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model")
    if not any((folder / name).is_file() for name in names):
        raise TaskError(f"'{shown}' has no tokenizer; expected one of the files {', '.join(names)}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise TaskError(f"the tokenizer of '{shown}' cannot be read: {' '.join(str(error).split())}") from None
    if not getattr(tokenizer, "is_fast", False):
        raise TaskError(f"the tokenizer of '{shown}' is no fast one (tokenizer.json), which finds the words' places")
    return tokenizer


def check_window(predict: Any, window: int) -> None:
    """Raises `TaskError` where a compiled model is too short for windows of `window` tokens."""
    longest = getattr(predict, "window", None)
    if longest is not None and window > longest:
        raise TaskError(
            f"the bundle takes {longest} tokens or less, found windows of {window}: use --window {longest}", usage=True
        )


def batch_of(predict: Any, batch: int | None) -> int:
    """Windows a call: what is asked for, within what the model takes; by default what it takes, else 32."""
    own = getattr(predict, "batch", 32)
    chosen = own if batch is None else batch
    if chosen < 1:
        raise TaskError(f"expected a batch of 1 or more, found {chosen}")
    return min(chosen, own) if isinstance(predict, BundlePredictor) else chosen
