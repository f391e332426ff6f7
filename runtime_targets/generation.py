"""Generates tokens with a model that was compiled for it: a prompt in chunks, then token by token.

The caches of the model hold the keys and values of the tokens so far. A call says at which position its tokens begin,
and what stood there and behind is written anew: a new sequence needs no reset.
"""

import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from secateur.dialects.entry_points import DECODE, PREFILL
from secateur.dialects.errors import SecateurError

if TYPE_CHECKING:
    from .runner import Runner

Choose = Callable[[np.ndarray], int]
"""The next token by its logits [vocabulary]."""


# The text that each runner's caches hold.
_TEXTS: "weakref.WeakKeyDictionary[Runner, object]" = weakref.WeakKeyDictionary()


class GenerationError(SecateurError, ValueError):
    """Text cannot be generated as asked; the text is one sentence with what was found and what is accepted."""


def greedy(logits: np.ndarray) -> int:
    """The most likely token, the first of equals. Raises `GenerationError` where a logit is not a number."""
    if np.isnan(logits).any():
        raise GenerationError("the model gives logits that are no numbers, so no token is the most likely")
    return int(logits.argmax())


class Generator:
    """The functions of a model that generates. Raises `GenerationError` where it was not compiled for that.

    `context`: the most tokens of a sequence, prompt and what follows together; `chunks`: how many tokens of a prompt
    a call takes, the most first. The state is the runner's, which holds one text at a time: a text that another one was
    begun over cannot go on.
    """

    def __init__(self, runner: "Runner") -> None:
        functions = runner.functions
        sizes = [name.removeprefix(PREFILL) for name in functions if name.startswith(PREFILL)]
        self.chunks = sorted((int(size) for size in sizes if size.isdigit()), reverse=True)
        if DECODE not in functions or not self.chunks:
            raise GenerationError(
                f"the model has the functions {', '.join(sorted(functions))}; one that generates has '{DECODE}' and "
                f"'{PREFILL}...' (compile it with a 'context')"
            )
        limits = [spec.limit for spec in functions[DECODE].inputs if spec.name == "position"]
        self.context = next((limit for limit in limits if limit is not None), 0)
        self._runner = runner

    def calls(self, tokens: int, position: int = 0) -> Iterator[tuple[int, int]]:
        """From where to where each call for `tokens` tokens goes, from `position` on: chunks, and a padded one at last.

        A single token at the end is one of `decode`.
        """
        begin, end = position, position + tokens
        for chunk in self.chunks:
            while end - begin >= chunk:
                yield begin, begin + chunk
                begin += chunk
        if begin < end:
            yield begin, end

    def logits(self, tokens: Sequence[int], position: int) -> np.ndarray:
        """One call: what comes after `tokens`, the first of which stands at `position`; [vocabulary].

        Raises `GenerationError` where they do not fit the context, or no function takes so many.
        """
        _TEXTS[self._runner] = object()
        return self._call(tokens, position)

    def _call(self, tokens: Sequence[int], position: int) -> np.ndarray:
        count = len(tokens)
        if position < 0 or position + count > self.context:
            raise GenerationError(
                f"the tokens {position} to {position + count - 1} do not fit the context of {self.context} tokens"
            )
        sizes = [chunk for chunk in self.chunks if chunk >= count]
        if not count or not sizes:
            raise GenerationError(f"a call takes 1 to {max(self.chunks)} tokens, found {count}")
        function = DECODE if count == 1 else f"{PREFILL}{min(sizes)}"
        inputs = {"input_ids": np.array([list(tokens)], np.int64), "position": np.array([position], np.int32)}
        return self._runner.run(inputs, function)["logits"][0]

    def generate(
        self, prompt: Sequence[int], count: int, *, stop: Collection[int] = (), choose: Choose = greedy
    ) -> Iterator[int]:
        """Up to `count` tokens that follow `prompt`, each as soon as it is chosen; a token of `stop` is the last.

        Raises `GenerationError`, before anything is computed, where prompt and tokens do not fit the context.
        """
        prompt = [int(token) for token in prompt]
        if not prompt:
            raise GenerationError("expected a prompt of 1 token or more, found none")
        if count < 0 or len(prompt) + count > self.context:
            raise GenerationError(
                f"a prompt of {len(prompt)} tokens and {count} that follow do not fit the context of {self.context} "
                "tokens; shorten one of them, or compile the model with a longer 'context'"
            )
        return self._generated(prompt, count, frozenset(stop), choose)

    def _generated(self, prompt: list[int], count: int, stop: frozenset[int], choose: Choose) -> Iterator[int]:
        if not count:
            return
        text = _TEXTS[self._runner] = object()
        for begin, end in self.calls(len(prompt)):
            logits = self._call(prompt[begin:end], begin)
        for number in range(count):
            token = choose(logits)
            yield token
            if token in stop or number + 1 == count:
                return
            if _TEXTS.get(self._runner) is not text:
                raise GenerationError(
                    "another text was begun on this model, whose caches hold one at a time; end one text before the "
                    "next, or load the model once for each"
                )
            logits = self._call([token], len(prompt) + number)
