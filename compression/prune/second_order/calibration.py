"""What the inputs of a model's layers look like on a few batches: their means and second moments."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_leaves, tree_map

from ..scheme import PruneError
from .patches import input_rows

# What the remembered outputs of the model's blocks may take.
_REMEMBERED_BYTES = 2 << 30


@dataclasses.dataclass
class Moments:
    """Sums over `tokens` inputs x [columns]: `first` [columns] of x, `second` [columns, columns] of x x^T; float64, on
    the device of the inputs."""

    tokens: int
    first: torch.Tensor
    second: torch.Tensor

    def centred(self) -> torch.Tensor:
        """The second moments about the mean: what is left of the error once a bias takes up its mean."""
        return self.second - torch.outer(self.first, self.first) / max(1, self.tokens)

    def mean(self) -> torch.Tensor:
        """[columns]."""
        return self.first / max(1, self.tokens)


class _ReachedError(Exception):
    """Every input that was wanted of this batch is there: the rest of the model need not run."""


class Calibration:
    """A model and the batches to run it on.

    Batches are mappings from the names of the model's inputs to arrays or tensors; where one holds an
    `attention_mask`, tokens that it leaves out do not count. Raises `PruneError` where there are none.
    """

    def __init__(self, module: torch.nn.Module, batches: Sequence[Mapping[str, "np.ndarray | torch.Tensor"]]) -> None:
        if not batches:
            raise PruneError("second-order pruning needs calibration inputs, found no batch")
        device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
        self._module = module
        self._batches = [{key: torch.as_tensor(value).to(device) for key, value in batch.items()} for batch in batches]
        self._outputs: dict[tuple[torch.nn.Module, int], Any] = {}
        self._remembered_bytes = 0
        self._once: list[torch.nn.Module] = []
        self._repeated: set[str] = set()

    def order(self, uses: Mapping[str, Sequence[torch.nn.Module]]) -> list[list[str]]:
        """The layers in the order in which a forward pass reaches them, those that read one tensor together.

        `uses` are the modules that hold each layer's weight. Layers that no batch reaches are left out.
        """
        names = {module: name for name, modules in uses.items() for module in modules}
        found: dict[str, Any] = {}
        calls = dict.fromkeys(_blocks(self._module), 0)
        for number in range(len(self._batches)):
            reached: list[tuple[str, Any]] = []
            with contextlib.ExitStack() as hooks:
                for module, name in names.items():
                    hooks.enter_context(_on_input(module, lambda x, name=name, to=reached: to.append((name, x))))
                if number == 0:
                    for block in calls:
                        hooks.enter_context(on_output(block, lambda _, block=block: _count(calls, block)))
                self.run(number)
            for name, x in reached:
                if name in found:
                    self._repeated.add(name)
                else:
                    found[name] = x
            # Another batch can reach others (experts); most models are done.
            if len(found) == len(uses):
                break
        self._once = [block for block, count in calls.items() if count == 1]
        groups: list[list[str]] = []
        last = None
        for name, x in found.items():
            alone = name in self._repeated or len(uses[name]) > 1
            if groups and x is last and not alone and groups[-1][-1] not in self._repeated:
                groups[-1].append(name)
            else:
                groups.append([name])
            last = None if alone else x
        return groups

    def moments(self, uses: Mapping[str, Sequence[torch.nn.Module]], final: bool = False) -> dict[str, list[Moments]]:
        """The moments of the inputs of the layers `uses`, per convolution group (one for a linear layer).

        With `final` it is one layer, and all before it have their final weights: then the outputs of blocks that end
        before it are remembered, and the pass stops behind it.
        """
        stops = final and not any(name in self._repeated or len(modules) > 1 for name, modules in uses.items())
        sums: dict[str, list[Moments]] = {}
        for number in range(len(self._batches)):
            seen: list[str] = []
            mask = self.mask(number)

            def add(layer: torch.nn.Module, name: str, x: torch.Tensor, mask: Any = mask, seen: Any = seen) -> None:
                seen.append(name)
                _accumulate(sums.setdefault(name, []), input_rows(layer, x, mask))
                if stops:
                    raise _ReachedError

            def remember(block: torch.nn.Module, output: Any, number: int = number, seen: Any = seen) -> None:
                if not seen:
                    self._remember(block, number, output)

            with contextlib.ExitStack() as stack:
                for name, modules in uses.items():
                    for layer in modules:
                        stack.enter_context(_on_input(layer, lambda x, m=layer, n=name, add=add: add(m, n, x)))
                if final:
                    for block in self._once:
                        if (block, number) in self._outputs:
                            stack.enter_context(_replaced(block, self._outputs[block, number]))
                        else:
                            stack.enter_context(on_output(block, lambda y, b=block, r=remember: r(b, y)))
                self.run(number)
        for name, groups in sums.items():
            if not all(bool(torch.isfinite(part.second).all()) for part in groups):
                raise PruneError(f"layer '{name}': the calibration inputs reach it as NaN or infinite values")
        return sums

    def run(self, number: int) -> Any:
        """The model's output for a batch, in evaluation mode; None where a hook ended the pass. Raises `PruneError`."""
        training = {module for module in self._module.modules() if module.training}
        self._module.eval()
        try:
            with torch.no_grad(), contextlib.suppress(_ReachedError):
                return self._module(**self._batches[number])
        except TypeError as error:
            given = ", ".join(self._batches[number])
            raise PruneError(f"the model does not take the calibration inputs {given}: {error}") from error
        finally:
            for module in training:
                module.training = True

    def mask(self, number: int) -> torch.Tensor | None:
        """Which tokens of a batch count, or None for all."""
        return self._batches[number].get("attention_mask")

    def _remember(self, block: torch.nn.Module, number: int, output: Any) -> None:
        copy = tree_map(_clone, output)
        tensors = [leaf for leaf in tree_leaves(copy) if isinstance(leaf, torch.Tensor)]
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        if self._remembered_bytes + size <= _REMEMBERED_BYTES:
            self._remembered_bytes += size
            self._outputs[block, number] = copy


def _accumulate(sums: list[Moments], groups: Sequence[torch.Tensor]) -> None:
    for number, rows in enumerate(groups):
        # The products of one batch in float32, three times as fast, about its mean: what varies little around a large
        # mean would be lost in them. The rest in float64.
        first = rows.sum(dim=0, dtype=torch.float64)
        mean = first / max(1, len(rows))
        centred = (rows - mean.to(rows)).float()
        second = (centred.T @ centred).double() + len(rows) * torch.outer(mean, mean)
        part = Moments(len(rows), first, second)
        if number == len(sums):
            sums.append(part)
        else:
            sums[number].tokens += part.tokens
            sums[number].first += part.first
            sums[number].second += part.second


def _blocks(module: torch.nn.Module) -> list[torch.nn.Module]:
    """The outermost blocks that the model repeats: members of its module lists."""
    if isinstance(module, torch.nn.ModuleList):
        return list(module)
    return [block for child in module.children() for block in _blocks(child)]


def _clone(leaf: Any) -> Any:
    return leaf.clone() if isinstance(leaf, torch.Tensor) else leaf


def _count(calls: dict[torch.nn.Module, int], block: torch.nn.Module) -> None:
    calls[block] += 1


@contextlib.contextmanager
def _on_input(layer: torch.nn.Module, act: Any) -> Iterator[None]:
    def hook(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        act(args[0] if args else kwargs["input"])

    handle = layer.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def on_output(block: torch.nn.Module, act: Any) -> Iterator[None]:
    """While it lasts, `act(output)` after each call of `block`: what it returns, unless None, is the output."""
    handle = block.register_forward_hook(lambda _, args, output: act(output))
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def _replaced(block: torch.nn.Module, output: Any) -> Iterator[None]:
    # A copy each time: what follows may add a residual in place.
    block.forward = lambda *_, **__: tree_map(_clone, output)
    try:
        yield
    finally:
        del block.forward
