"""A model with the head that a task needs, from a Hugging Face folder."""

from pathlib import Path
from typing import Any

from .errors import TrainError


def load_task_model(folder: str | Path, task: Any, weights: str | Path | None = None, seed: int = 0) -> tuple[Any, Any]:
    """The module (fp32, evaluation mode) and the tokenizer of a folder, as `task.model_class`.

    A head that the folder lacks gets random weights from `seed`. `weights` is a safetensors file of part of the model
    to be laid over it. Raises `TrainError` where the folder cannot be loaded, or the file has names or shapes that
    the model has not; `TaskError` where its labels do not fit the task.
    """
    import torch
    import transformers

    from secateur.frontends.checkpoint import read_config
    from secateur.frontends.hub import model_folder

    folder = model_folder(folder)
    loader = getattr(transformers, task.model_class)
    config = read_config(folder)
    head = task.model_class.removeprefix("Auto").removeprefix("ModelFor")
    if any(str(name).endswith(head) for name in getattr(config, "architectures", None) or []):
        task.check_labels(config)
    elif task.labels:
        config.id2label = dict(enumerate(task.labels))
        config.label2id = {label: i for i, label in enumerate(task.labels)}
    level = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module, info = loader.from_pretrained(
                str(folder), config=config, dtype=torch.float32, local_files_only=True, output_loading_info=True
            )
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise TrainError(f"'{folder}' cannot be loaded as {task.model_class}: {reason}") from error
    finally:
        transformers.utils.logging.set_verbosity(level)
    inside = [key for key in sorted(info["missing_keys"]) if key.startswith(f"{module.base_model_prefix}.")]
    missing = [key for key in inside if "pooler." not in key]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise TrainError(f"'{folder}' has no weights for '{missing[0]}'{more}, which {type(module).__name__} needs")
    if weights is not None:
        lay_over(module, Path(weights))
    return module.eval(), tokenizer


def load_teacher(given: str | None, weights: Path | None, task: Any, model: str, own_weights: Path | None) -> Any:
    """The teacher's module, or None. `given`: a folder, or `dense`: that of the model before it is pruned."""
    if given is None:
        return None
    if given == "dense":
        return load_task_model(model, task, own_weights)[0]
    return load_task_model(given, task, weights)[0]


def lay_over(module: Any, file: Path) -> None:
    """Replaces the parameters that a safetensors file names. Raises `TrainError`."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        given = load_file(file)
    except (SafetensorError, OSError) as error:
        raise TrainError(f"'{file}' cannot be read as safetensors: {error}") from None
    own = module.state_dict()
    for name, tensor in given.items():
        if name not in own:
            raise TrainError(f"'{file}' has the tensor '{name}', which {type(module).__name__} has not")
        if tensor.shape != own[name].shape:
            raise TrainError(f"'{name}' in '{file}' has shape {list(tensor.shape)}, expected {list(own[name].shape)}")
    with torch.no_grad():
        for name, tensor in given.items():
            own[name].copy_(tensor.float())
