"""The format in which trained encoders ship: what differs from a public base model, in fp16, without the zeros.

A packed file is a safetensors file. Tensors that are bit for bit those of the base stay out of it: the reader takes
them from the base's folder. Of the others, one with many zeros is `NAME.kept` (uint8, one bit per weight, most
significant bit first, in row-major order) and `NAME.values` (fp16, the kept weights in that order); the rest is `NAME`
in fp16, whole. The file's metadata holds the class of the model, its config, a SHA-256 over everything the file says
and one over the tensors that the base must supply.

    python -m secateur.applications.question_answering.packed_checkpoint MODEL --base DIR -o FILE
"""

import dataclasses
import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.dialects.errors import SecateurError

if TYPE_CHECKING:
    import torch

FORMAT = "secateur-packed-checkpoint"
VERSION = "1"
BASE_FILE = "model.safetensors"
# What a config holds besides the model: where it came from is nobody else's business.
_NOT_CONFIG = ("_name_or_path", "transformers_version", "model_type")


class PackedError(SecateurError):
    """A packed checkpoint cannot be written or read; the text is one sentence."""


@dataclasses.dataclass(frozen=True)
class PackedSizes:
    """Bytes of a packed file by what they are, and of the same tensors in fp32; `sparsity_fraction` of the packed."""

    file_bytes: int
    values_bytes: int
    mask_bytes: int
    whole_bytes: int
    float32_bytes: int
    base_float32_bytes: int
    sparsity_fraction: float

    def __str__(self) -> str:
        from secateur.compiler.measure.tables import percent, size

        return (
            f"{size(self.file_bytes)}: {size(self.values_bytes)} of kept weights in fp16, {size(self.mask_bytes)} of "
            f"bits that say which ({percent(self.sparsity_fraction)} are zero), {size(self.whole_bytes)} of whole "
            f"tensors; {size(self.float32_bytes)} in fp32, and {size(self.base_float32_bytes)} come from the base"
        )


def save_packed(
    module: "torch.nn.Module", base_state: "Mapping[str, torch.Tensor]", path: str | Path, note: str = ""
) -> PackedSizes:
    """Writes what `module`, a transformers model, has and `base_state` has not; whole or not at all.

    `base_state`: the tensors of the base's `model.safetensors`, by their names there. `note`: a sentence on where the
    weights come from, which `read_note` gives back. Weights are rounded to fp16:
    reading gives those of `module.half().float()`. Raises `PackedError` for weights that fp16 cannot hold.
    """
    from secateur.dialects.output_places import write_whole

    prefix = f"{getattr(module, 'base_model_prefix', '')}."
    tensors: dict[str, np.ndarray] = {}
    base: dict[str, np.ndarray] = {}
    zeros = packed = 0
    for name, value in module.state_dict().items():
        array = value.detach().cpu().numpy()
        found = base_state.get(name.removeprefix(prefix), base_state.get(name))
        if found is not None and found.dtype == value.dtype and found.cpu().numpy().tobytes() == array.tobytes():
            base[name] = array
            continue
        rounded = _rounded(name, array)
        kept = array != 0
        # A bit for every weight is worth it where more than one in sixteen goes.
        if array.ndim > 1 and kept.mean() < 15 / 16:
            tensors[f"{name}.kept"] = np.packbits(kept)
            tensors[f"{name}.values"] = rounded[kept]
            zeros += int(kept.size - kept.sum())
            packed += kept.size
        else:
            tensors[name] = rounded
    config: Any = module.config
    told = {name: value for name, value in config.to_diff_dict().items() if name not in _NOT_CONFIG}
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "note": note,
        "class": type(module).__name__,
        "config": json.dumps(told, sort_keys=True),
        "model_type": config.model_type,
        "shapes": json.dumps({name: list(value.shape) for name, value in module.state_dict().items()}),
        "base_tensors": json.dumps(sorted(base)),
        "base_sha256": _digest(base),
    }
    metadata["sha256"] = _digest(tensors, metadata)
    from safetensors.numpy import save

    data = save(tensors, metadata=metadata)
    write_whole(Path(path), data)

    def total(ending: str) -> int:
        return sum(a.nbytes for n, a in tensors.items() if n.endswith(ending))

    values, masks = total(".values"), total(".kept")
    return PackedSizes(
        file_bytes=len(data),
        values_bytes=values,
        mask_bytes=masks,
        whole_bytes=total("") - values - masks,
        float32_bytes=4 * sum(v.numel() for n, v in module.state_dict().items() if n not in base),
        base_float32_bytes=sum(a.nbytes for a in base.values()),
        sparsity_fraction=zeros / packed if packed else 0.0,
    )


def load_packed(path: str | Path, base_folder: str | Path) -> "torch.nn.Module":
    """The model of a packed file, in fp32 and for evaluation; tensors that the file lacks come from `base_folder`.

    Raises `PackedError` where the file is damaged or of another format, and where the base is not the one it was
    packed against.
    """
    import torch
    import transformers

    path = Path(path)
    tensors, metadata = _read(path)
    try:
        shapes = json.loads(metadata["shapes"])
        named = json.loads(metadata["base_tensors"])
        config = transformers.AutoConfig.for_model(metadata["model_type"], **json.loads(metadata["config"]))
    except (KeyError, ValueError, TypeError) as error:
        raise PackedError(f"'{path}' lacks what a packed checkpoint says of itself: {error}") from None
    kind = getattr(transformers, metadata["class"], None)
    if not (isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)):
        raise PackedError(f"'{path}' holds a '{metadata['class']}', which is no model of transformers")
    module: torch.nn.Module = kind(config)
    state = {name: _unpacked(name, tuple(shape), tensors, path) for name, shape in shapes.items() if name not in named}
    state.update(_from_base(Path(base_folder), named, str(getattr(module, "base_model_prefix", "")), metadata, path))
    try:
        module.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    except RuntimeError as error:
        raise PackedError(f"'{path}' does not fit the model it names: {' '.join(str(error).split())}") from None
    return module.eval()


def read_note(path: str | Path) -> str:
    """What a packed file says of its origin. Raises `PackedError` where it is damaged or of another format."""
    return _read(Path(path))[1].get("note", "")


def _rounded(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype != np.float32:
        raise PackedError(f"'{name}' is {array.dtype}; accepted is float32")
    if not np.isfinite(array).all():
        raise PackedError(f"'{name}' holds NaN or infinity")
    with np.errstate(over="ignore"):
        rounded = array.astype(np.float16)
    if not np.isfinite(rounded).all():
        raise PackedError(f"'{name}' holds {np.abs(array).max():g}, and fp16 ends at 65504")
    return rounded


def _digest(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> str:
    """SHA-256 over names, types, shapes and bytes, and over the metadata but for the digest itself."""
    digest = hashlib.sha256()
    for name, array in sorted(tensors.items()):
        digest.update(json.dumps([name, array.dtype.name, list(array.shape)]).encode())
        digest.update(np.ascontiguousarray(array).data)
    digest.update(json.dumps({k: v for k, v in sorted((metadata or {}).items()) if k != "sha256"}).encode())
    return digest.hexdigest()


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise PackedError(f"'{path}' cannot be read: {error.strerror or error}") from None
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PackedError(f"'{path}' is no safetensors file, or a damaged one: {error}") from None
    if metadata.get("format") != FORMAT:
        raise PackedError(f"'{path}' is no packed checkpoint, or a damaged one: its format is {metadata.get('format')}")
    if metadata.get("version") != VERSION:
        raise PackedError(f"'{path}' has version {metadata.get('version')}; this Secateur reads version {VERSION}")
    if metadata.get("sha256") != _digest(tensors, metadata):
        raise PackedError(f"'{path}' was altered: its SHA-256 is not the one that it states")
    return tensors, metadata


def _unpacked(name: str, shape: tuple[int, ...], tensors: Mapping[str, np.ndarray], path: Path) -> np.ndarray:
    if name in tensors:
        return tensors[name].astype(np.float32)
    if f"{name}.kept" not in tensors or f"{name}.values" not in tensors:
        raise PackedError(f"'{path}' lacks the tensor '{name}'")
    count = int(np.prod(shape))
    kept = np.unpackbits(tensors[f"{name}.kept"], count=count).astype(bool)
    values = tensors[f"{name}.values"]
    if kept.size != count or int(kept.sum()) != values.size:
        raise PackedError(f"'{path}' holds {values.size} values of '{name}', and its bits name {int(kept.sum())}")
    array = np.zeros(count, np.float32)
    array[kept] = values
    return array.reshape(shape)


def _from_base(
    folder: Path, named: list[str], prefix: str, metadata: Mapping[str, str], path: Path
) -> dict[str, np.ndarray]:
    """The tensors that the base supplies, compared with those that the file was packed against."""
    if not named:
        return {}
    from safetensors import SafetensorError, safe_open

    file = folder / BASE_FILE
    if not file.is_file():
        raise PackedError(f"the base folder '{folder}' has no {BASE_FILE}")
    found: dict[str, np.ndarray] = {}
    try:
        with safe_open(file, framework="np") as base:
            known = set(base.keys())
            for name in named:
                short = name.removeprefix(f"{prefix}.")
                if short not in known and name not in known:
                    raise PackedError(f"the base '{file}' has no tensor '{short}', which '{path.name}' takes from it")
                found[name] = base.get_tensor(short if short in known else name)
    except SafetensorError as error:
        raise PackedError(f"the base '{file}' is no safetensors file, or a damaged one: {error}") from None
    if _digest(found) != metadata["base_sha256"]:
        raise PackedError(f"'{path}' was packed against another base than '{file}': the tensors it needs differ")
    return found


def main(arguments: list[str]) -> int:
    """Packs a Hugging Face folder and prints what the file's bytes are."""
    import argparse

    parser = argparse.ArgumentParser(description="Packs a fine-tuned Hugging Face folder against its base.")
    parser.add_argument("model", metavar="MODEL", type=Path, help="the fine-tuned (and pruned) folder")
    parser.add_argument("--base", metavar="DIR", type=Path, required=True, help="the folder it was fine-tuned from")
    parser.add_argument("-o", "--out", metavar="FILE", type=Path, required=True, help="the packed file to write")
    parser.add_argument("--note", default="", help="a sentence on where the weights come from")
    options = parser.parse_args(arguments)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from secateur.frontends import load_model
    from secateur.frontends.errors import FrontendError

    try:
        sizes = save_packed(
            load_model(options.model).module, load_file(options.base / BASE_FILE), options.out, options.note
        )
        print(f"wrote {options.out}, {sizes}")
    except (PackedError, FrontendError, OSError, SafetensorError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
