"""A model with the head that a task needs, from a Hugging Face folder."""

from pathlib import Path
from typing import Any

from .errors import TrainError


def load_task_model(
    folder: str | Path, task: Any, weights: str | Path | None = None, seed: int = 0, *, new_head: bool = True
) -> tuple[Any, Any]:
    """The module (fp32, evaluation mode) and the tokenizer of a folder, as `task.model_class`.

    A head that the folder lacks gets random weights from `seed`, or is an error without `new_head`. `weights` is a
    safetensors file of part of the model to be laid over it. Raises `TrainError` where the folder cannot be loaded, or
    the file has names or shapes that the model has not; `TaskError` where its labels do not fit the task.
    """
    import torch
    import transformers

    from secateur.frontends import load_model
    from secateur.frontends.hub import model_folder
    from secateur.frontends.model_config import class_for, read_config
    from secateur.tasks import load_tokenizer

    path = model_folder(folder)
    config = read_config(path)
    head = task.model_class.removeprefix("Auto").removeprefix("ModelFor")
    if any(str(name).endswith(head) for name in getattr(config, "architectures", None) or []):
        task.check_labels(getattr(config, "id2label", None) or {})
    elif task.labels:
        config.id2label = dict(enumerate(task.labels))
        config.label2id = {label: i for i, label in enumerate(task.labels)}
    wanted = class_for(getattr(transformers, task.model_class), config, path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = load_model(folder, wanted.__name__, config=config, new_head=new_head).module
    tokenizer = load_tokenizer(folder)
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
