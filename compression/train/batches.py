"""Batches of windows: shuffled by seed and epoch, neighbours of like length, cut to the longest of the batch."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

# Windows are sorted by length within this many batches: enough for little padding, few enough to stay random.
_SORTED_TOGETHER = 50
_MULTIPLE = 8


class NumberedWindows(Dataset):
    """The windows of `dataset` (dicts of tensors), each with its number as `row`."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {**self.dataset[index], "row": torch.tensor(index)}

    def set_epoch(self, epoch: int) -> None:
        """Passed on, where the windows differ from epoch to epoch."""
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)

    def lengths(self) -> np.ndarray:
        """Tokens of each window of the present epoch."""
        given = getattr(self.dataset, "lengths", None)
        if given is not None:
            return np.asarray(given() if callable(given) else given)
        return np.asarray([int(self.dataset[i]["attention_mask"].sum()) for i in range(len(self))])


class LengthBatches(Sampler[list[int]]):
    """The numbers of the windows of each batch. The order depends on seed and epoch alone."""

    def __init__(self, windows: NumberedWindows, batch: int, seed: int) -> None:
        self._windows, self._batch, self._seed = windows, batch, seed
        self._epoch = 0
        self._lengths: np.ndarray | None = None

    def __len__(self) -> int:
        return -(-len(self._windows) // self._batch)

    def set_epoch(self, epoch: int) -> None:
        if epoch != self._epoch:
            self._lengths = None
        self._epoch = epoch
        self._windows.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        if self._lengths is None:
            self._lengths = self._windows.lengths()
        generator = np.random.default_rng((self._seed, self._epoch))
        order = generator.permutation(len(self._windows))
        sorted_together = self._batch * _SORTED_TOGETHER
        batches: list[np.ndarray] = []
        for start in range(0, len(order), sorted_together):
            part = order[start : start + sorted_together]
            part = part[np.argsort(-self._lengths[part], kind="stable")]
            cut = [part[i : i + self._batch] for i in range(0, len(part), self._batch)]
            batches += [cut[i] for i in generator.permutation(len(cut))]
        return iter([part.tolist() for part in batches])


class TrainingLoader(DataLoader):
    """Batches of `windows`; `set_epoch` is what the Trainer calls before each epoch."""

    def __init__(self, windows: NumberedWindows, batch: int, seed: int) -> None:
        # A generator of its own: iterating must not draw from the one that dropout uses.
        generator = torch.Generator().manual_seed(seed)
        sampler = LengthBatches(windows, batch, seed)
        super().__init__(windows, batch_sampler=sampler, collate_fn=collate, generator=generator)

    def set_epoch(self, epoch: int) -> None:
        self.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]


def collate(items: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """One tensor per name; of tensors of tokens the columns that are padding in all windows are cut off.

    The length stays a multiple of 8 tokens where windows allow it: kernels like that.
    """
    batch = {name: torch.stack([torch.as_tensor(item[name]) for item in items]) for name in items[0]}
    mask = batch["attention_mask"]
    window = mask.shape[1]
    longest = int(mask.any(0).nonzero().max()) + 1 if bool(mask.any()) else window
    length = min(window, -(-longest // _MULTIPLE) * _MULTIPLE)
    cut = {name: tensor[:, :length] if tensor.ndim == 2 and tensor.shape[1] == window else tensor
           for name, tensor in batch.items()}  # fmt: skip
    return {name: tensor.long() for name, tensor in cut.items()}
