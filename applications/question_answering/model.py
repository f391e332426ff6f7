"""A bundle that answers questions: checked, with its tokenizer, and opened as often as there are cores to use."""

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import AnswerError

if TYPE_CHECKING:
    from secateur.runtime_targets.runner import Runner

_OUTPUTS = ("start_logits", "end_logits")
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class QuestionModel:
    """A bundle of a `...ForQuestionAnswering` model, made with its tokenizer.

    Raises `AnswerError` for a bundle of another kind, `BundleError` for one that is damaged or not for this machine.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        from secateur.runtime_targets.bundle import open_bundle
        from secateur.runtime_targets.token_count import given_by_caller

        self._bundle = open_bundle(Path(path))
        manifest = self._bundle.manifest
        self.name: str = manifest.model.name
        inputs = {spec.name: spec for spec in given_by_caller(manifest.function().inputs)}
        outputs = [spec.name for spec in manifest.function().outputs]
        ids = inputs.get("input_ids")
        if any(name not in outputs for name in _OUTPUTS):
            raise AnswerError(
                f"'{path}' is no question-answering model: its outputs are {', '.join(outputs)}; "
                f"expected {' and '.join(_OUTPUTS)}, as of a BertForQuestionAnswering"
            )
        if ids is None or len(ids.shape) != 2 or not set(inputs) <= set(_INPUTS):
            raise AnswerError(f"'{path}' takes {', '.join(inputs)}; accepted are {', '.join(_INPUTS)}")
        self.tokens: int = ids.shape[1]
        """Tokens of a window."""
        self.input_names = frozenset(inputs)
        self.sparsity_fraction: float = _sparsity(manifest.layers)
        self.tokenizer = _tokenizer(self._bundle.folder / "tokenizer", path)
        from secateur.tasks.squad_spans import PairTemplate

        self.template = PairTemplate.of(_FastTokenizer(self.tokenizer, self.tokenizer.token_to_id("[PAD]"), _INPUTS))
        hashes = [entry.sha256 for name, entry in sorted(manifest.files.items()) if name == "tokenizer/tokenizer.json"]
        self.tokenizer_sha256 = hashes[0] if hashes else ""

    def session(self, threads: int = 1) -> "Session":
        """A session of its own; sessions share the memory of the weights. Raises `SessionError`."""
        return Session(self._bundle.runner(threads=threads), self.input_names)


class Session:
    """Start and end logits of one window."""

    def __init__(self, runner: "Runner", names: frozenset[str]) -> None:
        self._runner = runner
        self._names = names

    def __call__(self, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """`arrays`: int64 [1, tokens] by input name; two float32 [tokens]."""
        found = self._runner.run({name: array for name, array in arrays.items() if name in self._names})
        start, end = (found[name][0] for name in _OUTPUTS)
        if not (np.isfinite(start).all() and np.isfinite(end).all()):
            raise AnswerError("the model's logits hold NaN or infinity")
        return start, end


@dataclasses.dataclass(frozen=True)
class _FastTokenizer:
    """What `PairTemplate` asks of a tokenizer of transformers, whose import would cost seconds."""

    backend_tokenizer: Any
    pad_token_id: int | None
    model_input_names: tuple[str, ...]


def _sparsity(layers: Any) -> float:
    weights = sum(layer.rows * layer.columns for layer in layers)
    zeros = sum(layer.rows * layer.columns * layer.sparsity_fraction for layer in layers)
    return zeros / weights if weights else 0.0


def _tokenizer(folder: Path, shown: str | os.PathLike[str]) -> Any:
    """The tokenizer of the library `tokenizers`, which neither cuts nor pads."""
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    if file.is_file():
        try:
            tokenizer = Tokenizer.from_file(str(file))
        # The library raises the base class alone.
        except Exception as error:
            raise AnswerError(f"the tokenizer of '{shown}' cannot be read: {error}") from None
    else:
        from secateur.tasks.predict import load_tokenizer

        tokenizer = load_tokenizer(shown).backend_tokenizer
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
