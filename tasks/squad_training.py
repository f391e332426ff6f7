"""Training windows of SQuAD: each question once an epoch, with a window cut at random around its answer."""

import numpy as np
import torch
from torch.utils.data import Dataset

from .squad_data import TokenisedSquad
from .squad_spans import PairTemplate
from .task import Arrays


class SquadTraining(Dataset[dict[str, torch.Tensor]]):
    """Items: the model's inputs (int64 [window]) and `start_positions`, `end_positions` (int64, no dimension).

    An item depends on `seed`, the epoch (`set_epoch`, which the Hugging Face Trainer calls) and its index alone, so
    that training which is resumed sees what it would have seen. `without_answer`: the fraction of windows that are cut
    elsewhere, where the paragraph has room for that; the answer of these is the first token, position 0.
    """

    def __init__(
        self,
        squad: TokenisedSquad,
        chosen: np.ndarray,
        template: PairTemplate,
        window: int,
        seed: int = 0,
        without_answer: float = 0.0,
    ) -> None:
        """`chosen`: indices of questions; those whose answer has no token are left out."""
        self._squad = squad
        self._chosen = chosen[squad.answer_first[chosen] >= 0]
        self._template = template
        self._window = window
        self._seed = seed
        self._epoch = 0
        self._without_answer = without_answer
        template.room(0, window)

    def __len__(self) -> int:
        return len(self._chosen)

    def set_epoch(self, epoch: int) -> None:
        """Windows are cut anew in each epoch, always in the same way in the same one."""
        self._epoch = int(epoch)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        pair, start, end = self._cut(int(index))
        arrays = self._template.join([pair], self._window, self._window)
        item = {name: torch.from_numpy(array[0]) for name, array in arrays.items()}
        return {**item, "start_positions": torch.tensor(start), "end_positions": torch.tensor(end)}

    def inputs(self, indices: np.ndarray) -> Arrays:
        """The model's inputs of several items, [items, window] each, without labels."""
        return self._template.join([self._cut(int(i))[0] for i in indices], self._window, self._window)

    def _cut(self, index: int) -> tuple[tuple[np.ndarray, np.ndarray], int, int]:
        """Question and text of an item, and the first and last token of the answer in the input."""
        question_index = self._chosen[index]
        question, text = self._squad.question(question_index), self._squad.context(question_index)
        first, last = int(self._squad.answer_first[question_index]), int(self._squad.answer_last[question_index])
        room = self._template.room(len(question), self._window)
        place, kind = uniform(self._seed, self._epoch, index, 2)
        if kind < self._without_answer:
            # Windows that end before the answer, then those that begin behind it.
            before, behind = max(first - room + 1, 0), max(len(text) - room - last, 0)
            if before + behind:
                start = int(place * (before + behind))
                start = start if start < before else last + 1 + start - before
                return (question, text[start : start + room]), 0, 0
        # The window holds the answer, and is full where the text has as many tokens; an answer that is longer than the
        # window is cut.
        lowest = max(0, min(last + 1 - room, first))
        highest = max(lowest, min(first, len(text) - room))
        start = lowest + int(place * (highest - lowest + 1))
        shift = self._template.text_start(len(question), self._window) - start
        return (question, text[start : start + room]), first + shift, min(last, start + room - 1) + shift


def uniform(seed: int, epoch: int, index: int, count: int) -> list[float]:
    """`count` numbers in [0, 1) that depend on the arguments alone (the mixing function of SplitMix64, Steele et al.
    2014): a generator of NumPy's takes longer to set up than a window takes to cut."""
    mask = (1 << 64) - 1
    state = 0
    for part in (seed, epoch, index):
        state = _mix((state + part * 0x9E3779B97F4A7C15 + 1) & mask)
    return [(_mix((state + (i + 1) * 0x9E3779B97F4A7C15) & mask) >> 11) / (1 << 53) for i in range(count)]


def _mix(value: int) -> int:
    mask = (1 << 64) - 1
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    return value ^ (value >> 31)
