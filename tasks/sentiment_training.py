"""Training examples of the sentiment task."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from .sentiment_inputs import batch_inputs


class SentimentTraining(Dataset[dict[str, torch.Tensor]]):
    """Items: the model's inputs (int64 [longest example]) and `labels` (int64, no dimension)."""

    def __init__(
        self,
        encoded: dict[str, np.ndarray],
        labels: np.ndarray,
        chosen: np.ndarray,
        padding: int,
        names: tuple[str, ...],
    ) -> None:
        """`encoded`: texts as `batch_inputs` takes them, with a label each; `chosen`: which of them are the items."""
        self._encoded = encoded
        self._labels = labels
        self._chosen = chosen
        self._padding = padding
        self._names = names
        self._width = int(np.diff(encoded["bounds"])[chosen].max())

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        row = self._chosen[[int(index)]]
        arrays = batch_inputs(self._encoded, row, self._padding, self._names, self._width)
        item = {name: torch.from_numpy(array[0]) for name, array in arrays.items()}
        return {**item, "labels": torch.tensor(int(self._labels[row[0]]))}

    @staticmethod
    def collate(items: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """A batch, without the padding that no item of it needs: a `data_collator` of the Trainer."""
        longest = max(int(item["attention_mask"].sum()) for item in items)
        return {
            name: torch.stack([item[name][:longest] if item[name].ndim else item[name] for item in items])
            for name in items[0]
        }
