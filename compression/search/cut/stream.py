"""The hidden width: which features of the stream between layers can go, and a model without them.

A feature goes everywhere at once: out of embeddings, norms, what is added to the stream and what reads it. The order is
that of the second-order error summed over all readers, each as a fraction of its output's variance (the structures of
ZipLM, arXiv 2302.04089, here with many readers). Readers then move to their optimum, and norms, whose mean and variance
are over fewer features, get the scale and shift that bring them nearest to what they gave.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from secateur.compression.prune.second_order.calibration import Calibration
from secateur.compression.prune.second_order.correction import damped, output_error
from secateur.compression.prune.second_order.removal import STEP_FRACTION, remove

from ..errors import SearchError
from .encoder import Encoder, narrowed

# Tokens that the norms are fitted to: two numbers a feature.
_TOKENS = 1024
# What a norm gives has one feature less than it has numbers: without damping nothing could be solved for.
LEAST_DAMPING = 1e-6


@dataclasses.dataclass(frozen=True)
class Reader:
    """Inputs of linear layers that read the stream: their `mean` [features] and `covariance` [features, features] of
    a token, f32."""

    mean: torch.Tensor
    covariance: torch.Tensor


@dataclasses.dataclass(frozen=True)
class Stream:
    """`order` [features]: which goes first; `errors` [features + 1]: the fraction of the variance of a reader's output
    that is lost once 0, 1, 2 ... are gone, the mean over readers. `readers` by the name of the first linear layer that
    reads there; `norms`: inputs [tokens, features] of each norm, f16."""

    order: torch.Tensor
    errors: torch.Tensor
    readers: Mapping[str, Reader]
    norms: Mapping[str, torch.Tensor]

    def kept(self, count: int) -> torch.Tensor:
        """The `count` features that go last, rising."""
        return self.order[len(self.order) - count :].sort().values


def reading_layers(module: nn.Module) -> dict[str, list[nn.Linear]]:
    """The linear layers that read the stream, or behind the encoder as many features, those with one input together,
    by the name of the first."""
    encoder = Encoder(module)
    names = {found: name for name, found in module.named_modules()}
    groups: list[list[nn.Linear]] = []
    for number in range(len(encoder.layers)):
        groups += [encoder.projections(number), [encoder.linear(number, "expands")]]
    groups += [[m] for m in _outside(module, nn.Linear) if m.in_features == encoder.hidden and not _embeds(m, names)]
    return {names[group[0]]: group for group in groups}


def stream_norms(module: nn.Module) -> dict[str, nn.LayerNorm]:
    """The norms of the stream by name."""
    width = (Encoder(module).hidden,)
    return {n: m for n, m in module.named_modules() if isinstance(m, nn.LayerNorm) and m.normalized_shape == width}


def collect_norms(module: nn.Module, calibration: Calibration, batches: int) -> dict[str, torch.Tensor]:
    """Inputs of the norms for tokens spread over all batches."""
    norms = stream_norms(module)
    found: dict[str, list[torch.Tensor]] = {name: [] for name in norms}
    share = -(-_TOKENS // batches)

    def keep(name: str, x: torch.Tensor, mask: Any) -> None:
        rows = x[mask != 0] if mask is not None and x.shape[:2] == mask.shape else x.reshape(-1, x.shape[-1])
        found[name].append(rows[:: max(1, len(rows) // share)][:share].clamp(-6e4, 6e4).half().cpu())

    for number in range(batches):
        mask = calibration.mask(number)
        hooks = [
            norm.register_forward_pre_hook(lambda _, args, name=name, mask=mask: keep(name, args[0], mask))
            for name, norm in norms.items()
        ]
        try:
            calibration.run(number)
        finally:
            for hook in hooks:
                hook.remove()
    return {name: torch.cat(rows) for name, rows in found.items()}


def stream_of(
    groups: Mapping[str, Sequence[nn.Linear]],
    readers: Mapping[str, Reader],
    norms: Mapping[str, torch.Tensor],
    damping: float,
) -> Stream:
    """The order in which features go, in steps of an eighth of what is left, as `removal_order` has it."""
    states = []
    for name, reader in readers.items():
        weight = torch.cat([layer.weight.detach().double().cpu() for layer in groups[name]])
        covariance = reader.covariance.double()
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped(covariance, max(damping, LEAST_DAMPING))))
        energy = output_error(weight, covariance)
        if energy:
            states.append((weight[None].clone(), inverse[None], energy * len(readers)))
    left = torch.arange(next(iter(readers.values())).mean.numel())
    order, errors, lost = [], [0.0], 0.0
    while len(left):
        costs = [w[0].square().sum(dim=0) / h[0].diagonal() / energy for w, h, energy in states]
        cost = torch.stack(costs).sum(dim=0)[left] if costs else torch.zeros(len(left))
        cost, places = cost.sort(stable=True)
        count = max(1, int(len(left) * STEP_FRACTION))
        gone = left[places[:count]]
        added = sum(float(remove(weight, inverse, gone[None])) / energy for weight, inverse, energy in states)
        share = cost[:count] / cost[:count].sum().clamp(min=torch.finfo(cost.dtype).tiny)
        errors += (lost + added * share.cumsum(0)).tolist()
        lost += added
        order.append(gone)
        left = left[places[count:]].sort().values
    return Stream(torch.cat(order), torch.tensor(errors), readers, norms)


@torch.no_grad()
def cut_stream(module: Any, stream: Stream, count: int, damping: float) -> None:
    """Leaves `count` features of the stream of a module, in place; its config says so.

    Raises `SearchError` where the statistics are of a model with another head.
    """
    encoder, width = Encoder(module), Encoder(module).hidden
    groups, norms = reading_layers(module), stream_norms(module)
    lacking = [name for name in (*groups, *norms) if name not in stream.readers and name not in stream.norms]
    if lacking:
        raise SearchError(f"the statistics were collected on a model without '{lacking[0]}'; collect them anew")
    kept = stream.kept(count).to(next(module.parameters()).device)
    names = {found: name for name, found in module.named_modules()}
    for name, group in groups.items():
        _cut_readers(group, stream.readers[name], kept, damping)
    writers = [encoder.linear(n, part) for n in range(len(encoder.layers)) for part in ("gathers", "contracts")]
    writers += [m for m in _outside(module, nn.Linear) if m.out_features == width]
    for linear in writers:
        narrowed(linear, linear.weight[kept], None if linear.bias is None else linear.bias[kept])
    for table in _outside(module, nn.Embedding):
        # A bias for each head is a table too.
        if table.embedding_dim == width and "bias" not in names[table]:
            table.weight = nn.Parameter(table.weight[:, kept].clone())
            table.embedding_dim = count
    for name, norm in norms.items():
        fit_norm(norm, stream.norms[name].to(kept.device), kept)
    size, config = encoder.head_size(0), encoder.config
    if getattr(config, "embedding_size", None) == width:
        config.embedding_size = count
    config.hidden_size, config.num_attention_heads = count, count // size


def _outside(module: nn.Module, kind: Any) -> list[Any]:
    inside = set(Encoder(module).layers.modules())
    return [found for found in module.modules() if isinstance(found, kind) and found not in inside]


def _embeds(linear: nn.Linear, names: Mapping[nn.Module, str]) -> bool:
    return "embedding" in names[linear]


def _cut_readers(group: Sequence[nn.Linear], reader: Reader, kept: torch.Tensor, damping: float) -> None:
    second = damped(reader.covariance.double(), max(damping, LEAST_DAMPING)).to(kept.device)
    factor = torch.linalg.cholesky(second[kept][:, kept])
    mean = reader.mean.double().to(kept.device)
    for linear in group:
        weight = linear.weight.double()
        solved = torch.cholesky_solve((weight @ second[:, kept]).T, factor).T
        bias = None if linear.bias is None else linear.bias.double() + weight @ mean - solved @ mean[kept]
        narrowed(linear, solved, bias)


def fit_norm(norm: nn.LayerNorm, inputs: torch.Tensor, kept: torch.Tensor) -> None:
    """Scale and shift of each feature by least squares: the norm of the kept ones then gives what that of all did."""
    x = inputs.double()
    wanted = nn.functional.layer_norm(x, x.shape[-1:], norm.weight.double(), norm.bias.double(), norm.eps)[:, kept]
    given = nn.functional.layer_norm(x[:, kept], kept.shape, eps=norm.eps)
    centred = given - given.mean(dim=0)
    scale = (centred * wanted).sum(dim=0) / centred.square().sum(dim=0).clamp(min=1e-12)
    shift = wanted.mean(dim=0) - scale * given.mean(dim=0)
    norm.weight = nn.Parameter(scale.to(norm.weight))
    norm.bias = nn.Parameter(shift.to(norm.bias))
    norm.normalized_shape = tuple(kept.shape)
