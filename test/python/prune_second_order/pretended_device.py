"""Tensors that say they are on a GPU, where there is none: what would mix devices there fails here too."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

GPU = torch.device("meta")


class OnGpu(torch.Tensor):
    """A CPU tensor that says its device is a GPU."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "OnGpu":
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), dtype=held.dtype, device=GPU, requires_grad=False
        )
        made.held = held
        return made

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"OnGpu({self.held!r})"

    __torch_function__ = torch._C._disabled_torch_function_impl

    def tolist(self) -> Any:
        """As of a tensor on a GPU, which copies."""
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(function, args, kwargs or {})


# What takes indices takes them from the CPU too, as it does on a GPU.
_INDICES_FROM_ANYWHERE = ("aten::index", "aten::index_put_", "aten::_index_put_impl_", "aten::index_put")


def run(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Runs an operation on what the tensors hold; raises as PyTorch does where devices are mixed."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    wanted = kwargs.pop("device", None)
    name = function._schema.name
    there = any(isinstance(tensor, OnGpu) for tensor in tensors)
    mixed = there and any(not isinstance(tensor, OnGpu) and tensor.dim() for tensor in tensors)
    if mixed and name not in (*_INDICES_FROM_ANYWHERE, "aten::copy_"):
        raise RuntimeError(f"expected all tensors on the same device, found a GPU and the CPU in {name}")
    plain = tree_map_only(OnGpu, lambda tensor: tensor.held, (args, kwargs))
    found = function(*plain[0], **plain[1])
    where = there if wanted is None else torch.device(wanted).type == GPU.type
    if name in (*_INDICES_FROM_ANYWHERE, "aten::copy_"):
        where = isinstance(tensors[0], OnGpu)
    if name == "aten::_local_scalar_dense":
        return found
    # An operation in place gives the tensor that it was given.
    own = {id(tensor.held): tensor for tensor in tensors if isinstance(tensor, OnGpu)}
    return tree_map_only(torch.Tensor, lambda t: own[id(t)] if id(t) in own else OnGpu(t) if where else t, found)


class _Factories(TorchDispatchMode):
    """Operations that make tensors on the GPU."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(function, args, dict(kwargs or {}))


@contextlib.contextmanager
def pretended_gpu() -> Iterator[None]:
    """While it lasts `tensor.to(GPU)` gives a tensor that says it is on a GPU."""
    with _Factories():
        yield
