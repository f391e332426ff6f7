"""What a generating model is compared with: PyTorch's logits of a whole sequence, which it computes bit by bit.

The sequences are random. Of the first, chunks of every size come first, the last of them not full, then single tokens;
each call gives the logits of its last token. The second begins anew without a reset, over the rows of the first, and
is taken up again from its middle: what stands behind a token must not count.
"""

from typing import TYPE_CHECKING

import numpy as np

from secateur.dialects.entry_points import DECODE, MAIN
from secateur.runtime_targets.generation import Generator

from . import comparison as verify
from .reference import Reference
from .reference_outputs import ReferenceOutputs

if TYPE_CHECKING:
    from secateur.frontends import ImportedModel, Loaded
    from secateur.runtime_targets.runner import Runner

_SINGLE_TOKENS = 4
_SEED = 0


class ReferenceLogits(Reference):
    """Random sequences of token ids, and the logits of every token."""

    one_process = True

    def __init__(self, loaded: "Loaded", imported: "ImportedModel", accepted: verify.Tolerance | None = None) -> None:
        super().__init__(loaded, accepted)
        self._imported = imported
        self.output_names = ["logits"]
        position = next(spec for spec in imported.functions[DECODE].inputs if spec.name == "position")
        chunks = [form.inputs[0].shape[1] for name, form in imported.functions.items() if name != DECODE]
        context = position.limit or 1
        vocabulary = imported.functions[DECODE].outputs[0].shape[1]
        rng = np.random.default_rng(_SEED)
        long = min(context, sum(chunks) + min(chunks) // 2 + _SINGLE_TOKENS)
        short = min(context, min(chunks) + _SINGLE_TOKENS)
        for name, length in (("sequence", long), ("next sequence", short)):
            self.cases[name] = {"input_ids": rng.integers(0, vocabulary, (1, length))}

    def of(self, loaded: "Loaded", accepted: verify.Tolerance | None) -> "ReferenceLogits":
        """The same of another module."""
        return ReferenceLogits(loaded, self._imported, accepted)

    def differences(self, runner: "Runner") -> list[verify.Difference]:
        """How far the logits of every call are from those of its last token."""
        generator, found = Generator(runner), []
        for name, arrays in self.cases.items():
            ids = arrays["input_ids"][0].tolist()
            (expected,) = self.outputs(arrays)
            prompt = max(1, len(ids) - _SINGLE_TOKENS)
            calls = [*generator.calls(prompt), *((place, place + 1) for place in range(prompt, len(ids)))]
            middle = len(ids) // 2
            for begin, end in [*calls, (middle, middle + 1)]:
                logits = generator.logits(ids[begin:end], begin)
                case = f"{name}, tokens {begin} to {end - 1}"
                found.append(verify.compare(case, "logits", logits, expected[0, end - 1], self.accepted))
        return found

    def _computed(self, arrays: verify.Arrays) -> list[np.ndarray]:
        logits, *_ = super()._computed(arrays)
        return [logits]


def reference_of(loaded: "Loaded", imported: "ImportedModel") -> Reference:
    """What the code of a model is compared with: the outputs of `main`, or the logits of one that generates."""
    return ReferenceOutputs(loaded, imported) if MAIN in imported.functions else ReferenceLogits(loaded, imported)
