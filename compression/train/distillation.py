"""What a teacher says about the windows, kept on disk, and how far a student is from it."""

import os
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from .job import weights_hash

_CHECKSUMS = "checksums"
_LABELS = ("labels", "start_positions", "end_positions", "row")


def model_inputs(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What of a batch a model takes without its labels."""
    return {name: tensor for name, tensor in batch.items() if name not in _LABELS}


def logits_of(outputs: Any) -> dict[str, torch.Tensor]:
    """The logits among a model's outputs, by name."""
    return {name: value for name, value in outputs.items() if name.endswith("logits")}


class Teacher:
    """A teacher's logits for the numbered windows of a data set, computed once and kept as f16 on disk.

    `data_key` names the windows: the same key, epoch and row mean the same window; `folder` is where the
    values of all trainings lie. A killed training leaves rows that are whole or missing. A row that is not as its
    checksum says, or a file that cannot be read, is computed anew, and `note` is told so once. Logits go through f16
    also when they were just computed, so that a training does not depend on which of them were there.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        windows: int,
        data_key: str,
        folder: Path | None,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.module = module.eval()
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        self._windows, self._note, self._noted = windows, note, False
        self._folder = folder / f"{weights_hash(module)}-{data_key}" if folder is not None else None
        self._files: dict[str, np.ndarray] = {}
        self._epoch: int | None = None

    def logits(self, batch: dict[str, torch.Tensor], epoch: int, window: int) -> dict[str, torch.Tensor]:
        """The teacher's logits of a batch, f32, on the batch's device; `window` is the longest a batch can be."""
        device = batch["input_ids"].device
        if self._folder is None:
            return {name: value.half().float() for name, value in self._compute(batch).items()}
        self._open(epoch)
        rows = batch["row"].cpu().numpy()
        length = batch["input_ids"].shape[1]
        if not self._whole(rows):
            computed = self._compute(batch)
            try:
                self._keep(computed, rows, length, window)
            except OSError:
                # Values that cannot be kept are computed anew in each epoch; rounded all the same.
                self._folder = None
                return {name: value.half().float() for name, value in computed.items()}
        found = {}
        for name, file in self._logits().items():
            values = np.asarray(file[rows])
            found[name] = torch.from_numpy(values[:, :length]).to(device).float()
        return found

    def _keep(self, computed: dict[str, torch.Tensor], rows: np.ndarray, length: int, window: int) -> None:
        for name, value in computed.items():
            per_token = value.ndim == 2 and value.shape[1] == length
            width = window if per_token else value.shape[1]
            kept = np.zeros((len(rows), width), np.float16)
            kept[:, : value.shape[1]] = value.clamp(-6e4, 6e4).half().cpu().numpy()
            self._file(name, (self._windows, width), np.float16)[rows] = kept
        # Last: what a killed training leaves has no checksum, or an old one.
        self._file(_CHECKSUMS, (self._windows,), np.uint32)[rows] = self._checksums(rows)

    def _logits(self) -> dict[str, np.ndarray]:
        return {name: file for name, file in sorted(self._files.items()) if name != _CHECKSUMS}

    def _checksums(self, rows: np.ndarray) -> np.ndarray:
        """CRC-32 of each row over all logits; 0 is kept for rows that are missing."""
        found = np.zeros(len(rows), np.uint32)
        for place, row in enumerate(rows):
            for file in self._logits().values():
                found[place] = zlib.crc32(np.ascontiguousarray(file[row]), int(found[place]))
        return np.maximum(found, 1)

    def _whole(self, rows: np.ndarray) -> bool:
        """Whether all rows are there and as they were written."""
        if _CHECKSUMS not in self._files or len(self._files) == 1:
            return False
        stored = np.asarray(self._files[_CHECKSUMS][rows])
        there = stored != 0
        if (stored != self._checksums(rows))[there].any():
            self._damaged()
            return False
        return bool(there.all())

    def _damaged(self) -> None:
        if not self._noted:
            self._note(f"the teacher's logits in '{self._folder}' are damaged; those that are needed are computed anew")
        self._noted = True

    def hidden_states(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """The hidden states behind each layer, too many to be kept."""
        with torch.no_grad():
            return self.module(**model_inputs(batch), output_hidden_states=True).hidden_states

    @torch.no_grad()
    def _compute(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return logits_of(self.module(**model_inputs(batch)))

    def _open(self, epoch: int) -> None:
        if epoch == self._epoch:
            return
        self._epoch, self._files = epoch, {}
        for path in sorted(self._epoch_folder().glob("*.npy")):
            if path.stem == _CHECKSUMS or path.stem.endswith("logits"):
                file = self._mapped(path)
                if file is not None and len(file) == self._windows:
                    self._files[path.stem] = file

    def _epoch_folder(self) -> Path:
        assert self._folder is not None
        return self._folder / f"epoch-{self._epoch}"

    def _mapped(self, path: Path) -> np.ndarray | None:
        """The array in a file; None, and the file is gone, where it holds none."""
        try:
            found: np.ndarray = np.load(path, mmap_mode="r+", allow_pickle=False)
            return found
        # NumPy raises whatever the damage leads its reader to.
        except Exception:
            self._damaged()
            path.unlink(missing_ok=True)
            return None

    def _file(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        known = self._files.get(name)
        if known is None or (known.shape, known.dtype) != (shape, dtype):
            folder = self._epoch_folder()
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{name}.npy"
            found = self._mapped(path) if path.exists() else None
            if found is None or (found.shape, found.dtype) != (shape, dtype):
                with tempfile.NamedTemporaryFile(dir=folder, prefix=".new-", delete=False) as scratch:
                    pass
                try:
                    np.lib.format.open_memmap(scratch.name, mode="w+", dtype=dtype, shape=shape).flush()
                    _take_room(Path(scratch.name))
                    Path(scratch.name).replace(path)
                finally:
                    Path(scratch.name).unlink(missing_ok=True)
            self._files[name] = np.load(path, mmap_mode="r+")
        return self._files[name]


def _take_room(path: Path) -> None:
    """Raises `OSError` where the disk has no room for a file: written through a mapping, that would end the process."""
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def logits_loss(
    student: dict[str, torch.Tensor], teacher: dict[str, torch.Tensor], mask: torch.Tensor, temperature: float
) -> torch.Tensor:
    """T^2 KL(teacher, student) at temperature T, mean over windows and over the named logits.

    Logits [windows, tokens] are distributions over the tokens that `mask` [windows, tokens] has; others [windows,
    classes]. Source: Hinton et al., Distilling the knowledge in a neural network, section 2.
    """
    total = torch.zeros((), device=mask.device)
    for name, theirs in teacher.items():
        ours, theirs = student[name].float() / temperature, theirs / temperature
        if name in ("start_logits", "end_logits"):
            padding = mask == 0
            ours, theirs = ours.masked_fill(padding, -1e4), theirs.masked_fill(padding, -1e4)
        total = total + functional.kl_div(
            functional.log_softmax(ours, -1), functional.log_softmax(theirs, -1), reduction="batchmean", log_target=True
        )
    return total * temperature**2 / len(teacher)


def hidden_loss(
    student: tuple[torch.Tensor, ...], teacher: tuple[torch.Tensor, ...], mask: torch.Tensor
) -> torch.Tensor:
    """Mean over layers of |student - teacher|^2 / |teacher|^2 over the tokens of `mask`; embeddings are left out."""
    kept = mask[..., None].to(student[0].dtype)
    losses = [((ours - theirs).square() * kept).sum() / (theirs.square() * kept).sum().clamp_min(1e-12)
              for ours, theirs in zip(student[1:], teacher[1:], strict=True)]  # fmt: skip
    return torch.stack(losses).mean()
