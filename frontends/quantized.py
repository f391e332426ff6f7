"""Checkpoints whose weights are packed by a quantiser: transformers unpacks them where its package is installed.

Secateur stores weights in formats of its own (`--weights`), so it takes the numbers that the packed ones stand for.
"""

import importlib.util
import inspect
import warnings
from pathlib import Path
from typing import Any

import torch

from .errors import FrontendError
from .model_config import first_line, quiet_transformers

# Method in `quantization_config` -> (what pip installs, what Python imports).
_PACKAGES = {
    "compressed-tensors": ("compressed-tensors", "compressed_tensors"),
    "gptq": ("gptqmodel optimum", "gptqmodel"),
    "awq": ("gptqmodel", "gptqmodel"),
    "bitsandbytes": ("bitsandbytes", "bitsandbytes"),
    "fp8": ("accelerate", "accelerate"),
    "fbgemm_fp8": ("fbgemm-gpu", "fbgemm_gpu"),
    "quanto": ("optimum-quanto", "optimum.quanto"),
    "torchao": ("torchao", "torchao"),
    "hqq": ("hqq", "hqq"),
}


# Method -> the config that is told to unpack while loading.
_UNPACKED_ON_LOADING = {"compressed-tensors": "CompressedTensorsConfig", "fp8": "FineGrainedFP8Config"}


def quantized_by(config: Any) -> str | None:
    """The method that packed the weights; None where they are plain."""
    given = getattr(config, "quantization_config", None)
    if not given:
        return None
    method = given.get("quant_method") if isinstance(given, dict) else getattr(given, "quant_method", None)
    return str(getattr(method, "value", method))


def unpacked(folder: Path, config: Any, model_class: Any) -> dict[str, torch.Tensor]:
    """The weights of a packed checkpoint as f32, by name; `config` then describes a plain model.

    Raises `FrontendError` where the package that packs is missing, or does not unpack on this machine.
    """
    method = quantized_by(config)
    if method not in _PACKAGES:
        raise FrontendError(
            f"the weights of '{folder}' are quantised by '{method}'; accepted are {', '.join(_PACKAGES)} and weights "
            "in floating point"
        )
    package, module_name = _PACKAGES[method]
    if not _is_installed(module_name):
        raise FrontendError(
            f"the weights of '{folder}' are quantised by '{method}', which takes a package to be read: "
            f"pip install {package}"
        )
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False, "dtype": torch.float32}
    import transformers

    with quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if method in _UNPACKED_ON_LOADING:
                options["quantization_config"] = _to_floats(getattr(transformers, _UNPACKED_ON_LOADING[method]))
            module = model_class.from_pretrained(str(folder), config=config, **options)
            if method == "bitsandbytes":
                module = module.dequantize()
        except Exception as error:
            raise FrontendError(
                f"the weights of '{folder}' are quantised by '{method}', and cannot be unpacked here: "
                f"{first_line(error)}"
            ) from error
    state = {name: t.detach().to("cpu", torch.float32) for name, t in module.state_dict().items() if _is_float(t)}
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    return state


def _to_floats(config_class: Any) -> Any:
    """A config of transformers that asks for floats; the rest of it comes from the checkpoint."""
    known = inspect.signature(config_class).parameters
    return config_class(**({"dequantize": True} if "dequantize" in known else {"run_compressed": False}))


def _is_float(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point()


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
