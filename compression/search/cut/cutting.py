"""A smaller encoder out of a trained one: what goes by the order of the statistics, what stays at its optimum."""

import copy
from typing import Any

import torch
from torch import nn

from secateur.compression.prune.second_order.correction import damped
from secateur.compression.prune.second_order.model import DAMPING
from secateur.frontends.attention_heads import set_heads

from .architecture import Architecture
from .embedding import embedding_rank, factor_embedding, is_factored
from .encoder import Encoder, narrowed
from .statistics import Statistics, Structure
from .stream import cut_stream

NOTE = (
    "The config of transformers cannot say that layers differ in heads or FFN width, or that the embedding of words is"
    " two arrays: load this model with secateur.frontends.load_model, which goes by the weights."
)


def cut_model(
    module: nn.Module, architecture: Architecture, statistics: Statistics, *, damping: float = DAMPING
) -> Any:
    """A copy of the dense `module` of this architecture, on the same device, in evaluation mode.

    The linear layer that reads heads (neurons) gets the weights W_S = W C[:, S] C[S, S]^-1 for the kept columns S,
    where C is the (damped) covariance of its inputs in the dense model, and its bias takes up the mean of what went:
    the least error of its output. Projections and the first layer of the FFN lose rows. With a `hidden` width all
    readers of the stream are solved for in this way, and norms are fitted (see `stream`). An `embedding` narrower than
    the table of words makes it two arrays (see `embedding`). `num_hidden_layers` of the config is the number of layers;
    what else the config cannot say stands in its entry `cut`, with a sentence for whoever opens it.

    Raises `SearchError` where the module has no such architecture in it, or the statistics are of another model.
    """
    architecture.check(module)
    statistics.check(module)
    result: Any = copy.deepcopy(module).eval()
    encoder = Encoder(result)
    if architecture.hidden not in (None, encoder.hidden):
        cut_stream(result, statistics.stream, architecture.hidden, damping)
    if architecture.embedding is not None and architecture.embedding < embedding_rank(result):
        factor_embedding(result, architecture.embedding, statistics.words)
    for place, number in enumerate(architecture.layers):
        heads, width = architecture.heads[place], architecture.ffn[place]
        if heads < encoder.heads(number):
            columns = _cut_reader(encoder.linear(number, "gathers"), statistics.of(number, "heads"), heads, damping)
            for projection in encoder.projections(number):
                _keep_rows(projection, columns)
            set_heads(encoder.attention(number), len(columns))
        if width < encoder.width(number):
            columns = _cut_reader(encoder.linear(number, "contracts"), statistics.of(number, "ffn"), width, damping)
            _keep_rows(encoder.linear(number, "expands"), columns)
    encoder.keep(architecture.layers)
    _describe(result)
    return result


def _cut_reader(reader: nn.Linear, structure: Structure, count: int, damping: float) -> torch.Tensor:
    """Leaves `count` units of what a linear layer reads; returns their columns."""
    columns = structure.columns(count).to(reader.weight.device)
    weight = reader.weight.detach().double()
    second = damped(structure.covariance.double(), damping).to(weight.device)
    factor = torch.linalg.cholesky(second[columns][:, columns])
    solved = torch.cholesky_solve((weight @ second[:, columns]).T, factor).T
    bias = None
    if reader.bias is not None:
        mean = structure.mean.to(weight)
        bias = reader.bias.detach().double() + weight @ mean - solved @ mean[columns]
    narrowed(reader, solved, bias)
    return columns


def _keep_rows(linear: nn.Linear, rows: torch.Tensor) -> None:
    narrowed(linear, linear.weight[rows], None if linear.bias is None else linear.bias[rows])


def _describe(module: Any) -> None:
    """Brings the config in line with the module as far as it can say it."""
    encoder = Encoder(module)
    config, numbers = encoder.config, range(len(encoder.layers))
    heads = [encoder.heads(number) for number in numbers]
    widths = [encoder.width(number) for number in numbers]
    # A config that says more than a layer has is fine for this project's loader, one that says less is not.
    setattr(config, encoder.family.width, max(widths))
    cut: dict[str, Any] = {}
    if len(set(widths)) > 1 or set(heads) != {config.num_attention_heads}:
        cut |= {"heads": heads, "ffn": widths}
    if is_factored(module):
        cut |= {"embedding": embedding_rank(module)}
    if cut:
        config.cut = {"note": NOTE, **cut}
    elif hasattr(config, "cut"):
        del config.cut
