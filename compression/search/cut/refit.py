"""What stays, solved for again towards what the dense model computes at the same place, one linear layer after another.

A layer behind one that was left out reads another stream than it was trained on, and what one cut layer gets wrong is
the input of the next. So each linear layer moves to its optimum on the inputs that it has in the cut model: queries,
keys, values and neurons towards those of the dense model, and what is added to the stream towards all that the stream
lacks by then of the dense model's. The FFN in front of layers that were left out is solved for towards the stream
behind these, and has the norm of the last one. All are least squares, in the order of computation; nothing is trained.

Source: asymmetric reconstruction (Zhang et al. 2015, arXiv 1505.06798, section 3.3), here for the parts of a
transformer.
"""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from secateur.compression.prune.second_order.correction import damped

from .architecture import Architecture
from .encoder import Encoder
from .statistics import PARTS, Batches, Statistics
from .stream import LEAST_DAMPING, fit_norm

Rows = torch.Tensor
"""Of each batch the tokens that count, one below the other: [tokens, features]."""


@dataclasses.dataclass
class _Call:
    """A call of a layer on a batch: the stream [sequences, tokens, features] that it reads and what else it is given;
    `counts` [sequences, tokens]: which tokens are no padding."""

    stream: torch.Tensor
    positional: list[Any]
    named: dict[str, Any]
    counts: torch.Tensor

    def run(self, layer: nn.Module) -> torch.Tensor:
        """What the layer gives."""
        found = layer(self.stream, *self.positional, **self.named)
        return found[0] if isinstance(found, tuple) else found

    def rows(self, tensor: torch.Tensor) -> Rows:
        """The tokens that count of a tensor like the stream."""
        return tensor[self.counts]


class _Reached(Exception):
    """The first layer is called: there is no need to go on."""


@torch.no_grad()
def refit(
    module: Any, dense: Any, architecture: Architecture, statistics: Statistics, batches: Batches, damping: float
) -> None:
    """Refits `module`, which `cut_model` made of `dense`, in place. `batches` and `damping` as in `collect`; the
    damping holds weights to what they are. Layers before the first that was cut stay as they are."""
    cut, whole, own = Encoder(module), Encoder(dense), Architecture.of(dense)
    calls, wanted = _first_calls(module, batches), _first_calls(dense, batches)
    features: Any = slice(None)
    same = architecture.hidden in (None, whole.hidden)
    if not same:
        features = statistics.stream.kept(int(architecture.hidden or 0)).to(calls[0].stream.device)
    ends = [*(number - 1 for number in architecture.layers[1:]), len(own.layers) - 1]
    for skipped in range(architecture.layers[0]):
        _advance(wanted, whole.layers[skipped])
        same = False
    for place, (number, end) in enumerate(zip(architecture.layers, ends, strict=True)):
        sizes = architecture.heads[place], architecture.ffn[place]
        same = same and sizes == (own.heads[number], own.ffn[number])
        fit = _LayerFit(cut, place, calls, features, damping)
        if not same:
            heads, neurons = (
                statistics.of(number, part).columns(size) for part, size in zip(PARTS, sizes, strict=True)
            )
            fit.first_three(whole, number, wanted, heads, neurons)
        for passed in range(number, end):
            _advance(wanted, whole.layers[passed])
        if end > number:
            same = False
            norm = copy.deepcopy(last_norm(whole.layers[end]))
            if isinstance(features, torch.Tensor):
                names = {found: name for name, found in dense.named_modules()}
                fit_norm(
                    norm, statistics.stream.norms[names[last_norm(whole.layers[end])]].to(features.device), features
                )
            last_norm(cut.layers[place]).load_state_dict(norm.state_dict())
        if not same:
            fit.last(whole, end, wanted)
        _advance(calls, cut.layers[place])
        _advance(wanted, whole.layers[end])


@dataclasses.dataclass
class _LayerFit:
    """Layer `place` of the cut model, and its `calls`; `features` of the dense stream that stay."""

    cut: Encoder
    place: int
    calls: Sequence[_Call]
    features: Any
    damping: float

    def first_three(
        self, whole: Encoder, number: int, wanted: Sequence[_Call], heads: torch.Tensor, neurons: torch.Tensor
    ) -> None:
        """Projections, what gathers heads, and the first layer of the FFN, towards those of layer `number` of the dense
        model, of whose rows `heads` and `neurons` stay."""
        projections = dict(zip("qkv", whole.projections(number), strict=True))
        parts = {part: whole.linear(number, part) for part in ("gathers", "expands")}
        _, outputs = _seen(whole.layers[number], wanted, {**parts, **projections})
        for name, linear in zip("qkv", self.cut.projections(self.place), strict=True):
            self._solve(linear, [c.rows(c.stream) for c in self.calls], [rows[:, heads] for rows in outputs[name]])
        before = [(c.rows(c.stream), w.rows(w.stream)) for c, w in zip(self.calls, wanted, strict=True)]
        linear, read = self._read("gathers")
        self._solve(linear, read, self._lacking(before, outputs["gathers"]))
        linear, read = self._read("expands")
        self._solve(linear, read, [rows[:, neurons] for rows in outputs["expands"]])

    def last(self, whole: Encoder, number: int, wanted: Sequence[_Call]) -> None:
        """The second layer of the FFN, towards the sum in front of the last norm of layer `number`."""
        parts = {part: whole.linear(number, part) for part in ("expands", "contracts")}
        inputs, outputs = _seen(whole.layers[number], wanted, parts)
        between = list(zip(self._read("expands")[1], inputs["expands"], strict=True))
        linear, read = self._read("contracts")
        self._solve(linear, read, self._lacking(between, outputs["contracts"]))

    def _read(self, part: str) -> tuple[nn.Linear, list[Rows]]:
        """A linear layer of this layer, and what it reads."""
        linear = self.cut.linear(self.place, part)
        inputs, _ = _seen(self.cut.layers[self.place], self.calls, {part: linear})
        return linear, inputs[part]

    def _lacking(self, streams: Sequence[tuple[Rows, Rows]], added: Sequence[Rows]) -> list[Rows]:
        """What the cut model is to add to its stream, so that the sum is that of the dense model."""
        return [(dense + more)[:, self.features] - own for (own, dense), more in zip(streams, added, strict=True)]

    def _solve(self, linear: nn.Linear, inputs: Sequence[Rows], targets: Sequence[Rows]) -> None:
        _solve(linear, inputs, targets, self.damping)


def last_norm(layer: nn.Module) -> nn.LayerNorm:
    """The norm behind the FFN of a layer."""
    return [found for found in layer.modules() if isinstance(found, nn.LayerNorm)][-1]


def _solve(linear: nn.Linear, inputs: Sequence[Rows], targets: Sequence[Rows], damping: float) -> None:
    """Moves the weights to the least squared error, in place."""
    weight, bias = linear.weight.double(), linear.bias.double()
    tokens = sum(map(len, inputs))
    mean = sum((x.double().sum(dim=0) for x in inputs), torch.zeros(())) / tokens
    errors = [y.double() - x.double() @ weight.T - bias for x, y in zip(inputs, targets, strict=True)]
    offset = sum((e.sum(dim=0) for e in errors), torch.zeros(())) / tokens
    second, cross = torch.zeros(()), torch.zeros(())
    for x, error in zip(inputs, errors, strict=True):
        # Products in f32, as the layer computes them, and sums over batches in f64.
        centred = (x.double() - mean).float()
        second = second + (centred.T @ centred).double()
        cross = cross + (centred.T @ (error - offset).float()).double()
    factor = torch.linalg.cholesky(damped(second.cpu() / tokens, max(damping, LEAST_DAMPING)).to(second.device))
    change = torch.cholesky_solve(cross / tokens, factor).T
    linear.weight.copy_(weight + change)
    linear.bias.copy_(bias + offset - change @ mean)


def _seen(
    layer: nn.Module, calls: Sequence[_Call], linears: Mapping[str, nn.Module]
) -> tuple[dict[str, list[Rows]], dict[str, list[Rows]]]:
    """What linear layers within a layer read and give in calls of it, by name."""
    inputs: dict[str, list[Rows]] = {name: [] for name in linears}
    outputs: dict[str, list[Rows]] = {name: [] for name in linears}
    for call in calls:

        def keep(name: str, read: torch.Tensor, given: torch.Tensor, call: _Call = call) -> None:
            inputs[name].append(call.rows(read))
            outputs[name].append(call.rows(given))

        hooks = [
            linear.register_forward_hook(lambda _, args, given, name=name, keep=keep: keep(name, args[0], given))
            for name, linear in linears.items()
        ]
        try:
            call.run(layer)
        finally:
            for hook in hooks:
                hook.remove()
    return inputs, outputs


def _advance(calls: Sequence[_Call], layer: nn.Module) -> None:
    for call in calls:
        call.stream = call.run(layer)


def _first_calls(module: Any, batches: Batches) -> list[_Call]:
    """The calls of the first layer."""
    found: list[_Call] = []
    device = next(module.parameters()).device

    def keep(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        stream, *positional = args
        found.append(_Call(stream, positional, named, counts))
        raise _Reached

    hook = Encoder(module).layers[0].register_forward_pre_hook(keep, with_kwargs=True)
    try:
        for batch in batches:
            inputs = {name: torch.as_tensor(value).to(device) for name, value in batch.items()}
            counts = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"])) != 0
            try:
                module(**inputs)
            except _Reached:
                continue
    finally:
        hook.remove()
    return found
