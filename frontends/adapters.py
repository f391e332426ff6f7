"""Adapters of PEFT: what LoRA adds to a model is put into its weights.

    W + scale B A,   scale = alpha / r, or alpha / sqrt(r) for rank-stabilised LoRA (Hu et al. 2021)

`lora_A` is [r, inputs], `lora_B` [outputs, r]; layers that store weights as [inputs, outputs] (`fan_in_fan_out`) get
the transpose. Parts that were trained whole (`modules_to_save`, biases) take the place of the model's own.
"""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import torch

from .checkpoint_files import read_file
from .errors import FrontendError
from .hub import local_folder
from .model_config import class_for, find_class, read_json

_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_TASKS = {
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
    "CAUSAL_LM": "AutoModelForCausalLM",
    "SEQ_2_SEQ_LM": "AutoModelForSeq2SeqLM",
}
_BY_PEFT = "PeftModel.from_pretrained(model, folder).merge_and_unload().save_pretrained(new_folder)"
_LABELLED = re.compile(r"(.*\.)?(classifier|score|classifier\.out_proj)\.weight")


@dataclasses.dataclass(frozen=True)
class Adapter:
    """An adapter in `folder`: its config, its tensors by the names of the model's parts, and the model's folder."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    base: Path

    @classmethod
    def of(cls, folder: Path) -> "Adapter | None":
        """The adapter in a folder that holds no model; None where there is none. Raises `FrontendError`."""
        path = folder / "adapter_config.json"
        if not path.is_file() or (folder / "config.json").is_file():
            return None
        config = read_json(path, "")
        if config.get("peft_type") != "LORA" or config.get("use_dora"):
            kind = "DoRA" if config.get("use_dora") else config.get("peft_type")
            raise FrontendError(f"'{folder}' holds an adapter of the kind {kind}, and not LoRA; merge it: {_BY_PEFT}")
        file = next((folder / name for name in _FILES if (folder / name).is_file()), None)
        if file is None:
            raise FrontendError(f"'{folder}' holds no weights of the adapter; expected one of {', '.join(_FILES)}")
        tensors = {_plain(n): t for n, t in read_file(file).items() if ".original_module." not in n}
        return cls(folder, config, tensors, _base(folder, config.get("base_model_name_or_path")))

    def model_class(self, config: Any) -> Any:
        """The class that the adapter was trained for; a head that it brings gives the number of labels."""
        import transformers

        for name, tensor in self.tensors.items():
            if _LABELLED.fullmatch(name) and tensor.ndim == 2 and len(tensor) != config.num_labels:
                config.num_labels = len(tensor)
        named = self.config.get("auto_mapping")
        if isinstance(named, dict) and isinstance(named.get("base_model_class"), str):
            return find_class(self.folder, config, named["base_model_class"])
        task = self.config.get("task_type")
        if task in _TASKS:
            return class_for(getattr(transformers, _TASKS[task]), config, self.folder)
        return find_class(self.base, config, None)

    def merged(self, state: dict[str, torch.Tensor], module: Any) -> dict[str, torch.Tensor]:
        """The state dict `state` of the base with the adapter in it, under the names of `module`.

        Raises `FrontendError` for a part that the model lacks, or shapes that do not fit.
        """
        state = {_own_name(name, module): tensor for name, tensor in state.items()}
        for name, tensor in self.tensors.items():
            layer, _, part = name.partition(".lora_")
            if not part:
                state[self._known(name, module)] = tensor
            elif part in ("A.weight", "embedding_A"):
                other = self.tensors.get(name.replace("lora_A", "lora_B").replace("embedding_A", "embedding_B"))
                key = self._known(f"{layer}.weight", module)
                if other is None or key not in state:
                    lacking = "'lora_B'" if other is None else f"a weight in '{self.base}'"
                    raise FrontendError(f"'{layer}' of the adapter '{self.folder}' lacks {lacking}")
                state[key] = self._added(layer, state[key].to(torch.float32), tensor.float(), other.float(), part)
            elif part not in ("B.weight", "embedding_B"):
                raise FrontendError(f"'{name}' of the adapter '{self.folder}' is no part of LoRA; merge it: {_BY_PEFT}")
        return state

    def _added(
        self, layer: str, weight: torch.Tensor, first: torch.Tensor, second: torch.Tensor, part: str
    ) -> torch.Tensor:
        rank = len(first)
        if second.ndim < 2 or second.shape[1] != rank:
            raise FrontendError(
                f"'{layer}' of the adapter '{self.folder}' has A of shape {list(first.shape)} and B of "
                f"{list(second.shape)}; expected [r, inputs] and [outputs, r]"
            )
        change = second.flatten(1) @ first.flatten(1)
        if self.config.get("fan_in_fan_out") or part == "embedding_A":
            change = change.T
        if change.numel() != weight.numel() or (weight.ndim == 2 and change.shape != weight.shape):
            raise FrontendError(
                f"'{layer}' of the adapter '{self.folder}' changes weights of shape {list(change.shape)}, found "
                f"{list(weight.shape)} in '{self.base}'"
            )
        return weight + self._scale(layer, rank) * change.reshape(weight.shape)

    def _scale(self, layer: str, rank: int) -> float:
        alpha = self.config.get("lora_alpha")
        patterns = self.config.get("alpha_pattern")
        for pattern, value in (patterns if isinstance(patterns, dict) else {}).items():
            try:
                alpha = value if re.match(rf"(.*\.)?({pattern})$", layer) else alpha
            except re.error:
                raise FrontendError(f"'alpha_pattern' of '{self.folder}' holds {pattern!r}, no pattern") from None
        if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
            raise FrontendError(f"'lora_alpha' of '{self.folder}' is {alpha!r}; expected a number")
        return alpha / (math.sqrt(rank) if self.config.get("use_rslora") else rank)

    def _known(self, name: str, module: Any) -> str:
        found = _own_name(name, module)
        if found not in _names(module):
            raise FrontendError(f"'{name}' of the adapter '{self.folder}' is no part of {type(module).__name__}")
        return found


def _plain(name: str) -> str:
    """A tensor's name without what PEFT wraps the model and its parts in."""
    return re.sub(r"\.(base_layer|modules_to_save(\.default)?)\.", ".", name.removeprefix("base_model.model."))


def _base(folder: Path, named: Any) -> Path:
    """The folder of the adapter's model: as it is named, beside the adapter, or in the hub's cache."""
    how = "put its folder there, or name it as 'base_model_name_or_path' in adapter_config.json"
    if not isinstance(named, str) or not named:
        raise FrontendError(f"'{folder}' holds an adapter that names no model; {how}")
    for place in (Path(named), folder / named, folder.parent / named):
        if "\0" not in named and place.is_dir() and place.resolve() != folder.resolve():
            return place
    found = local_folder(named)
    if found is None:
        raise FrontendError(f"'{folder}' holds an adapter for the model '{named}', which is not on this machine; {how}")
    return found


def _names(module: Any) -> set[str]:
    return {name for name, _ in module.state_dict().items()}


def _own_name(name: str, module: Any) -> str:
    """The name that `module` has for a tensor of a checkpoint, with or without that of the bare model before it."""
    prefix, names = f"{module.base_model_prefix}.", _names(module)
    for own in (name, prefix + name, name.removeprefix(prefix)):
        if own in names:
            return own
    return name
