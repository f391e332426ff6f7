"""Reads a Hugging Face folder, with checkpoints as people have them."""

import dataclasses
import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .adapters import Adapter
from .attention_heads import set_heads
from .checkpoint_files import read_state_dict
from .errors import FrontendError
from .hub import model_folder
from .low_rank import restore_low_rank
from .model_config import find_class, first_line, quiet_transformers, read_config, skeleton_of
from .pruned_state import fold_masks
from .quantized import quantized_by, unpacked
from .state_dicts import check_finite, without_prefixes

# How many times more numbers a config may describe than a checkpoint holds: removed heads and neurons, parts without
# weights of their own.
_TIMES, _SMALL = 64, 1 << 26
_TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt"),
    *("vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model"),
)


@dataclasses.dataclass
class LoadedModel:
    """A model read from a folder: the module in evaluation mode with f32 weights, the files its tokenizer needs,
    the folder's name and the Hugging Face config."""

    module: nn.Module
    tokenizer_files: list[Path]
    name: str
    config: Any


def load_model(
    folder: str | os.PathLike[str], architecture: str | None = None, *, config: Any = None, new_head: bool = False
) -> LoadedModel:
    """Loads the class that `config.json` names (or `architecture`, a class of transformers) with its weights.

    `folder` may also be the name of a model of the Hugging Face hub (see `hub`), or hold an adapter of LoRA, which is
    merged into its model where that is on this machine (see `adapters`). Only model classes of transformers are loaded,
    and only they; no code of the checkpoint runs, and nothing that its config names is downloaded.
    Weights come from `model.safetensors` or `pytorch_model.bin`, in one file or several with an index; nothing is
    executed that a checkpoint holds. Packed weights are unpacked where the package for that is installed (see
    `quantized`). `weight_orig` with `weight_mask` become `weight`. Linear layers that are smaller than the config says
    (removed heads or neurons) keep the checkpoint's size, and a factored embedding of words is as it was saved (see
    `low_rank`).

    `config` takes the place of the folder's own. `new_head`: what stands outside of the bare model, and its pooler, may
    be missing, and has random numbers then. Raises `FrontendError`.
    """
    given, folder = os.fspath(folder), model_folder(folder)
    name = (folder.resolve() if os.path.lexists(given) else Path(given)).name
    # A name of other bytes than UTF-8 stays a name, in manifests too.
    name = os.fsencode(name).decode(errors="replace")
    adapter = Adapter.of(folder)
    source = adapter.base if adapter is not None else folder
    config = config if config is not None else read_config(source)
    if adapter is not None and architecture is None:
        model_class = adapter.model_class(config)
    else:
        model_class = find_class(source, config, architecture)
    if quantized_by(config) is not None:
        state = unpacked(source, config, model_class)
    else:
        state = without_prefixes(read_state_dict(source), model_class)
    state = fold_masks(state, source)
    skeleton = skeleton_of(model_class, config, source)
    _check_size(skeleton, state, source)
    if adapter is not None:
        state = adapter.merged(state, skeleton)
    with quiet_transformers():
        try:
            module, info = model_class.from_pretrained(
                None,
                config=config,
                state_dict=dict(state),
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        except Exception as error:
            raise FrontendError(
                f"'{source}' cannot be loaded as {model_class.__name__}: {first_line(error)}"
            ) from error
    low_rank = restore_low_rank(module, lambda key: _of_checkpoint(key, module, state))
    _resize(module, [entry for entry in info["mismatched_keys"] if entry[0] not in low_rank], state, source)
    _check_missing(module, sorted(info["missing_keys"]), source, new_head)
    check_finite(dict(module.named_parameters()), f"'{folder}'")
    module.eval()
    places = (folder, source)
    tokenizer = [next((p / n for p in places if (p / n).is_file()), None) for n in _TOKENIZER_FILES]
    return LoadedModel(module, [file for file in tokenizer if file is not None], name, config)


def example_inputs_for(module: nn.Module, batch: int, seq_len: int) -> dict[str, torch.Tensor]:
    """Inputs [batch, seq_len] for a Hugging Face encoder: ids, mask, and token types where it tells them apart.

    The ids are random; the mask hides the last token of the last sequence where there is more than one.
    Raises `FrontendError` where the module takes no `input_ids` or `seq_len` exceeds its positions.
    """
    config = getattr(module, "config", None)
    parameters = inspect.signature(module.forward).parameters
    if config is None or "input_ids" not in parameters:
        raise FrontendError(f"{type(module).__name__} takes no 'input_ids'; give example inputs by name")
    longest = _positions(module)
    if longest is not None and seq_len > longest:
        raise FrontendError(f"a sequence length of {seq_len} exceeds the {longest} positions of the model", usage=True)
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones(batch, seq_len, dtype=torch.int64)
    if seq_len > 1:
        mask[-1, -1] = 0
    inputs = {
        "input_ids": torch.randint(0, config.vocab_size, (batch, seq_len), generator=generator),
        "attention_mask": mask,
    }
    types = getattr(config, "type_vocab_size", 0) or 0
    if "token_type_ids" in parameters and types > 1:
        inputs["token_type_ids"] = torch.randint(0, types, (batch, seq_len), generator=generator)
    return {name: value for name, value in inputs.items() if name in parameters}


def _positions(module: nn.Module) -> int | None:
    """The longest sequence that the model has positions for; None where it sets no limit."""
    for name, part in module.named_modules():
        if name.endswith("position_embeddings") and isinstance(part, nn.Embedding):
            # RoBERTa and its kin count positions from the one after padding.
            return part.num_embeddings - (0 if part.padding_idx is None else part.padding_idx + 1)
    return None


def _resize(module: nn.Module, mismatched: Any, state: dict[str, torch.Tensor], folder: Path) -> None:
    """Gives linear layers the size that the checkpoint has: a smaller one, or any where the config says that the model
    was cut (`secateur.compression.search.cut`)."""
    cut = isinstance(getattr(getattr(module, "config", None), "cut", None), dict)
    for entry in mismatched:
        key, found, expected = entry[0], tuple(entry[1]), tuple(entry[2])
        path, _, name = key.rpartition(".")
        part = module.get_submodule(path)
        fits = len(found) == len(expected) and (cut or all(f <= e for f, e in zip(found, expected, strict=True)))
        tensor = _of_checkpoint(key, module, state, found)
        if not isinstance(part, nn.Linear) or not fits or tensor is None:
            raise FrontendError(
                f"'{key}' in '{folder}' has shape {list(found)}, expected {list(expected)}; only linear layers may be"
                " smaller than the config says"
            )
        setattr(part, name, nn.Parameter(tensor.to(torch.float32)))
        if name == "weight":
            part.out_features, part.in_features = found
            attention = module.get_submodule(path.rpartition(".")[0])
            if found[0] != expected[0] and hasattr(attention, "attention_head_size"):
                try:
                    set_heads(attention, found[0])
                except FrontendError as error:
                    raise FrontendError(f"'{key}' in '{folder}': {error}") from None


def _of_checkpoint(
    key: str, module: nn.Module, state: Mapping[str, torch.Tensor], shape: tuple[int, ...] | None = None
) -> torch.Tensor | None:
    # A checkpoint of the bare encoder lacks the prefix that a task head puts before its names, and the reverse.
    prefix = f"{getattr(module, 'base_model_prefix', '')}."
    for name in (key, key.removeprefix(prefix), prefix + key):
        if name in state and shape in (None, tuple(state[name].shape)):
            return state[name]
    return None


def _check_size(skeleton: nn.Module, state: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Raises `FrontendError` where the config describes far more numbers than there are: they would take memory."""
    described = sum(t.numel() for t in (*skeleton.parameters(), *skeleton.buffers()))
    held = sum(t.numel() for t in state.values())
    if described > _SMALL + _TIMES * held:
        raise FrontendError(
            f"'{folder / 'config.json'}' describes a model of {described} numbers, and the weights hold {held}"
        )


def _check_missing(module: nn.Module, missing: list[str], folder: Path, new_head: bool) -> None:
    prefix = f"{module.base_model_prefix}."
    if new_head:
        missing = [key for key in missing if key.startswith(prefix) and "pooler." not in key]
    if missing and all(key.partition("pooler.")[0] in ("", f"{module.base_model_prefix}.") for key in missing):
        # Encoders trained without a pooler are common; its output would come from random weights.
        holder: Any = getattr(module, str(module.base_model_prefix), module)
        if getattr(holder, "pooler", None) is not None:
            holder.pooler = None
            return
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise FrontendError(
            f"'{folder}' has no weights for {', '.join(missing[:3])}{more}, which {type(module).__name__} needs"
        )
