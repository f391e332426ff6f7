"""What the readers of heads and FFN neurons see on calibration inputs, and in which order these can go.

One pass serves every architecture: a layer's heads (and neurons) are removed one after another until none is left, so
that any number of them is a part of one order, and what stays is solved for when the number is known.

Source: optimal brain surgeon for structures, ZipLM (Kurtic et al. 2023, arXiv 2302.04089): the error of the output of
the layer that reads a structure decides, given that its other weights move to their optimum.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file, save
from torch import nn

from secateur.compression.prune.second_order.calibration import Calibration, Moments
from secateur.compression.prune.second_order.correction import damped, output_error
from secateur.compression.prune.second_order.layer import emptied
from secateur.compression.prune.second_order.model import DAMPING
from secateur.dialects.output_places import write_whole

from ..errors import SearchError
from .embedding import count_words
from .encoder import Encoder
from .stream import Reader, Stream, collect_norms, reading_layers, stream_of

Batches = Sequence[Mapping[str, "np.ndarray | torch.Tensor"]]

PARTS = {"heads": "gathers", "ffn": "contracts"}
"""What can be cut within a layer, and the linear layer that reads it."""
_FORMAT = 3
_STREAM, _WORDS = "stream.", "words"
_MEAN, _COVARIANCE, _NORM = (f"{_STREAM}{name}." for name in ("mean", "covariance", "norm"))


@dataclasses.dataclass(frozen=True)
class Structure:
    """The inputs [columns] of a reader, and its units of `group` neighbouring columns (a head, a neuron).

    `mean` [columns] and `covariance` [columns, columns] are those of a token, f32. `order` [units]: which unit goes
    first; `errors` [units + 1]: of the variance of the reader's output, the fraction that is lost once 0, 1, 2 ...
    units are gone and the others corrected.
    """

    group: int
    mean: torch.Tensor
    covariance: torch.Tensor
    order: torch.Tensor
    errors: torch.Tensor

    def kept(self, count: int) -> torch.Tensor:
        """The `count` units that go last, rising."""
        return self.order[len(self.order) - count :].sort().values

    def columns(self, count: int) -> torch.Tensor:
        """The columns of these units."""
        return (self.kept(count)[:, None] * self.group + torch.arange(self.group)).reshape(-1)


@dataclasses.dataclass(frozen=True)
class Statistics:
    """`structures` of a dense model by layer and part (`2.heads`, `0.ffn`), and its `stream`; `words` [words]: how
    often each occurs in the inputs; `model`: a digest of the weights."""

    structures: Mapping[str, Structure]
    stream: Stream
    words: torch.Tensor
    model: str

    def of(self, layer: int, part: str) -> Structure:
        """The structure of one of `PARTS` of a layer."""
        return self.structures[f"{layer}.{part}"]

    def error(self, layer: int, part: str, count: int) -> float:
        """The fraction of the variance of the reader's output that is lost where `count` units stay."""
        structure = self.of(layer, part)
        return float(structure.errors[len(structure.order) - count])

    def check(self, module: nn.Module) -> None:
        """Raises `SearchError` where `module` is not the dense model that these are of."""
        if digest_of_encoder(module) != self.model:
            raise SearchError("the statistics are those of other weights than the model's; collect them anew")

    def save(self, file: Path) -> None:
        """Writes a safetensors file; whoever reads it finds all of it or none."""
        tensors = {
            f"{name}.{field}": getattr(structure, field).contiguous()
            for name, structure in self.structures.items()
            for field in ("mean", "covariance", "order", "errors")
        }
        tensors |= {f"{_STREAM}{name}": getattr(self.stream, name).contiguous() for name in ("order", "errors")}
        for name, reader in self.stream.readers.items():
            tensors |= {
                f"{_MEAN}{name}": reader.mean.contiguous(),
                f"{_COVARIANCE}{name}": reader.covariance.contiguous(),
            }
        tensors |= {f"{_NORM}{name}": inputs.contiguous() for name, inputs in self.stream.norms.items()}
        tensors[_WORDS] = self.words
        groups = json.dumps({name: structure.group for name, structure in self.structures.items()})
        write_whole(file, save(tensors, {"format": str(_FORMAT), "model": self.model, "groups": groups}))

    @classmethod
    def load(cls, file: Path) -> "Statistics":
        """Raises `SearchError` for a file that `save` did not write."""
        try:
            with safetensors.safe_open(file, "pt") as opened:
                about = dict(opened.metadata() or {})
            tensors = load_file(file)
            if about["format"] != str(_FORMAT):
                raise KeyError(about["format"])
            structures = {
                name: Structure(group, *(tensors[f"{name}.{f}"] for f in ("mean", "covariance", "order", "errors")))
                for name, group in json.loads(about["groups"]).items()
            }
            readers = {
                name.removeprefix(_MEAN): Reader(mean, tensors[_COVARIANCE + name.removeprefix(_MEAN)])
                for name, mean in tensors.items()
                if name.startswith(_MEAN)
            }
            norms = {name.removeprefix(_NORM): t for name, t in tensors.items() if name.startswith(_NORM)}
            stream = Stream(tensors[f"{_STREAM}order"], tensors[f"{_STREAM}errors"], readers, norms)
            return cls(structures, stream, tensors[_WORDS], about["model"])
        except (OSError, safetensors.SafetensorError, KeyError, ValueError) as error:
            raise SearchError(f"'{file}' holds no statistics of this version: {error}") from None


def collect(
    module: nn.Module,
    batches: Batches,
    *,
    cache: Path | None = None,
    damping: float = DAMPING,
    progress: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> Statistics:
    """The statistics of a dense module on inputs such as `task.calibration_inputs(tokenizer, samples=512)` gives.

    `batches` as in `Calibration`; tensors go to the device of the module, where it runs. `cache`: a folder where the
    result is kept, by weights, inputs and damping, and found again. `damping` as in `prune_second_order`. Raises
    `SearchError` for a model that cannot be cut, `PruneError` for inputs that do not fit it.
    """
    encoder, model = Encoder(module), digest_of_encoder(module)
    file = None if cache is None else cache / f"cut-{_key(model, batches, damping)}.safetensors"
    if file is not None and file.is_file():
        return Statistics.load(file)
    readers = {
        f"{number}.{part}": encoder.linear(number, linear)
        for number in range(len(encoder.layers))
        for part, linear in PARTS.items()
    }
    progress(0, len(readers), "calibration inputs")
    groups = reading_layers(module)
    calibration = Calibration(module, batches)
    uses = {name: [reader] for name, reader in readers.items()} | {name: [group[0]] for name, group in groups.items()}
    moments = calibration.moments(uses)
    norms = collect_norms(module, calibration, len(batches))
    structures = {}
    for done, (name, reader) in enumerate(readers.items()):
        progress(done, len(readers), name)
        number, part = name.split(".")
        group = encoder.head_size(int(number)) if part == "heads" else 1
        structures[name] = _structure(reader, moments.pop(name)[0], group, damping)
    progress(len(readers), len(readers), "")
    reading = {name: Reader(*_mean_and_covariance(moments[name][0])) for name in groups if name in moments}
    found = Statistics(structures, stream_of(groups, reading, norms, damping), count_words(module, batches), model)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        found.save(file)
    return found


def _structure(reader: nn.Linear, moments: Moments, group: int, damping: float) -> Structure:
    weight = reader.weight.detach().double().cpu()
    mean, covariance = _mean_and_covariance(moments)
    covariance = covariance.double()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped(covariance, damping)))
    order, added, _ = emptied(weight, inverse, len(weight), group)
    lost = torch.from_numpy(added[0]).cumsum(0) / max(output_error(weight, covariance), torch.finfo(torch.float64).tiny)
    errors = torch.cat([torch.zeros(1), lost.float()])
    return Structure(group, mean, covariance.float(), torch.from_numpy(order[0]), errors)


def _mean_and_covariance(moments: Moments) -> tuple[torch.Tensor, torch.Tensor]:
    return moments.mean().float().cpu(), (moments.centred() / max(1, moments.tokens)).float().cpu()


def digest_of_encoder(module: nn.Module) -> str:
    """The same for encoders with the same weights, whatever head they have and wherever they lie."""
    found = hashlib.sha256()
    for name, tensor in Encoder(module).layers.state_dict().items():
        found.update(name.encode())
        found.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:32]


def _key(model: str, batches: Batches, damping: float) -> str:
    found = hashlib.sha256(json.dumps([_FORMAT, model, damping]).encode())
    for batch in batches:
        for name, value in sorted(batch.items()):
            array = np.ascontiguousarray(torch.as_tensor(value).cpu().numpy())
            found.update(f"{name} {array.shape} {array.dtype}".encode())
            found.update(array.tobytes())
    return found.hexdigest()[:32]
