"""Reads a Hugging Face folder, with checkpoints as people have them."""

import contextlib
import dataclasses
import inspect
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .checkpoint_files import read_state_dict
from .errors import FrontendError
from .hub import model_folder
from .pruned_state import fold_masks
from .state_dicts import check_finite, without_prefixes

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


def load_model(folder: str | os.PathLike[str], architecture: str | None = None) -> LoadedModel:
    """Loads the class that `config.json` names (or `architecture`, a class of transformers) with its weights.

    `folder` may also be the name of a model of the Hugging Face hub (see `hub`). Only model classes of transformers are
    loaded, and only they; no code of the checkpoint runs, and nothing that its config names is downloaded.
    Weights come from `model.safetensors` or `pytorch_model.bin`, in one file or several with an index; nothing is
    executed that a checkpoint holds. `weight_orig` with `weight_mask` become `weight`. Linear layers that are smaller
    than the config says (removed heads or neurons) keep the checkpoint's size. Raises `FrontendError`.
    """
    folder = model_folder(folder)
    config = read_config(folder)
    model_class = _find_class(folder, config, architecture)
    state = fold_masks(without_prefixes(read_state_dict(folder), model_class), folder)
    with _quiet_transformers():
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
            reason = str(error).strip().split("\n")[0]
            raise FrontendError(f"'{folder}' cannot be loaded as {model_class.__name__}: {reason}") from error
    _resize(module, info["mismatched_keys"], state, folder)
    _check_missing(module, sorted(info["missing_keys"]), folder)
    check_finite(dict(module.named_parameters()), f"'{folder}'")
    module.eval()
    tokenizer = [folder / name for name in _TOKENIZER_FILES if (folder / name).is_file()]
    return LoadedModel(module, tokenizer, folder.resolve().name, config)


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


def read_config(folder: Path) -> Any:
    """The config of a Hugging Face folder. Raises `FrontendError`."""
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "does not exist"
        raise FrontendError(
            f"'{folder}' {found}; expected a Hugging Face folder with config.json and weights", usage=True
        )
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        _refuse_adapter(folder)
        raise FrontendError(f"'{folder}' has no config.json, so it is no Hugging Face folder") from None
    except (OSError, ValueError, RecursionError) as error:
        raise FrontendError(f"'{path}' cannot be read: {error}") from None
    if not isinstance(values, dict) or "model_type" not in values:
        raise FrontendError(f"'{path}' names no 'model_type'; expected the config of a transformers model")
    if "quantization_config" in values:
        given = values["quantization_config"]
        method = given.get("quant_method", "a method without a name") if isinstance(given, dict) else given
        raise FrontendError(
            f"the weights of '{folder}' are quantised by '{method}'; expected a checkpoint in floating point: load it "
            "with transformers and that method's package, call `dequantize()`, and save it anew"
        )
    from transformers import AutoConfig

    with _quiet_transformers():
        try:
            return AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        except Exception as error:
            reason = str(error).strip().split("\n")[0]
            raise FrontendError(f"'{path}' is not accepted by transformers: {reason}") from error


def _refuse_adapter(folder: Path) -> None:
    """Raises `FrontendError` for a folder of PEFT, which has what is added to a model and not the model."""
    path = folder / "adapter_config.json"
    if not path.is_file():
        return
    try:
        base = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError, RecursionError):
        base = None
    of = f" for the model '{base}'" if base else ""
    raise FrontendError(
        f"'{folder}' holds an adapter{of}; merge it into its model: "
        "PeftModel.from_pretrained(model, folder).merge_and_unload().save_pretrained(new_folder)"
    )


def _find_class(folder: Path, config: Any, architecture: str | None) -> Any:
    import transformers

    named = [architecture] if architecture is not None else getattr(config, "architectures", None) or []
    if not isinstance(named, (list, tuple)) or not all(isinstance(name, str) for name in named):
        raise FrontendError(f"'architectures' in '{folder / 'config.json'}' is {named!r}; expected a list of names")
    if not named:
        return transformers.AutoModel
    found = getattr(transformers, named[0], None)
    # What is written in a config must not choose which other code of transformers runs.
    if not isinstance(found, type) or not issubclass(found, transformers.PreTrainedModel):
        raise FrontendError(f"'{folder}' asks for the class '{named[0]}', which is no model class of transformers")
    if getattr(found, "config_class", None) is None or not isinstance(config, found.config_class):
        kind = type(config).__name__
        raise FrontendError(f"'{folder}' asks for the class '{named[0]}', which does not take its config, a {kind}")
    return found


def _resize(module: nn.Module, mismatched: Any, state: dict[str, torch.Tensor], folder: Path) -> None:
    """Gives linear layers the size that the checkpoint has."""
    for entry in mismatched:
        key, found, expected = entry[0], tuple(entry[1]), tuple(entry[2])
        path, _, name = key.rpartition(".")
        part = module.get_submodule(path)
        smaller = len(found) == len(expected) and all(f <= e for f, e in zip(found, expected, strict=True))
        tensor = _of_checkpoint(key, found, module, state)
        if not isinstance(part, nn.Linear) or not smaller or tensor is None:
            raise FrontendError(
                f"'{key}' in '{folder}' has shape {list(found)}, expected {list(expected)}; only linear layers may be"
                " smaller than the config says"
            )
        setattr(part, name, nn.Parameter(tensor.to(torch.float32)))
        if name == "weight":
            part.out_features, part.in_features = found


def _of_checkpoint(
    key: str, shape: tuple[int, ...], module: nn.Module, state: dict[str, torch.Tensor]
) -> torch.Tensor | None:
    # A checkpoint of the bare encoder lacks the prefix that a task head puts before its names, and the reverse.
    prefix = f"{getattr(module, 'base_model_prefix', '')}."
    for name in (key, key.removeprefix(prefix), prefix + key):
        if name in state and tuple(state[name].shape) == shape:
            return state[name]
    return None


def _check_missing(module: nn.Module, missing: list[str], folder: Path) -> None:
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


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keeps transformers from writing reports and progress bars; what matters is raised here."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
