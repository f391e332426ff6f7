"""Models whose layers have the cells that are still to be measured, as few of them as will do."""

import copy
import dataclasses
import itertools
from collections import deque
from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from secateur.compression.prune.model import prune_model
from secateur.compression.prune.scheme import Scheme
from secateur.frontends.attention_heads import set_heads

from ..cut import Architecture
from ..cut.embedding import factor_embedding
from ..cut.encoder import Encoder, narrowed
from ..cut.stream import Reader, Stream, cut_stream, reading_layers, stream_norms
from ..spaces.building import pruned_layers
from ..spaces.plan import LayerPlan, Plan, scheme_named
from .cells import FIXED, Cell

LAYERS = 12
"""Of a model that is made to be measured."""
# The embedding of words is most of a small model, and costs the same whatever its size.
_WORDS = 1000
_HEADS, _FFN = ("qkv", "output"), ("ffn_in", "ffn_out")


def covering(missing: Collection[Cell], dense: Architecture, kind: Plan) -> list[Plan]:
    """Models of `LAYERS` layers or fewer that have all of the `missing` cells; what else they are is as in `kind`.

    A layer's attention takes a missing `qkv` and a missing `output` of as many heads, its FFN likewise; where one is
    missing alone the other is dense. The numbers of the layers are those of the dense model, over and over.
    """
    sides = []
    for kinds, rest in ((_HEADS, "attention"), (_FFN, "ffn")):
        slots: deque[tuple[int, dict[str, tuple[Scheme, float]]]] = deque()
        wanted = sorted(cell for cell in missing if cell.part in (*kinds, rest))
        for size in sorted({cell.size for cell in wanted}):
            queues = [deque(c for c in wanted if c.part == kind and c.size == size) for kind in kinds]
            while any(queues) or not any(slot[0] == size for slot in slots):
                cells = [queue.popleft() for queue in queues if queue]
                slots.append((size, {c.part: (scheme_named(c.scheme), c.rate) for c in cells if c.scheme}))
        sides.append(slots)
    layers = []
    smallest = (min(dense.heads), min(dense.ffn))
    while any(sides):
        taken = [side.popleft() if side else (size, {}) for side, size in zip(sides, smallest, strict=True)]
        (heads, first), (ffn, second) = taken
        number = _place(len(layers), heads, ffn, dense)
        layers.append(LayerPlan(number, heads, ffn, {**first, **second}))
    models = [tuple(layers[start : start + LAYERS]) for start in range(0, len(layers), LAYERS)]
    # Each model can have one table of words that is factored.
    tables = [cell.size for cell in sorted(missing) if cell.part == FIXED.part]
    models += [(LayerPlan(0, *smallest, {}),)] * (len(tables) - len(models))
    return [
        dataclasses.replace(kind, layers=model, embedding=table or None)
        for model, table in itertools.zip_longest(models, tables)
    ]


def _place(position: int, heads: int, ffn: int, dense: Architecture) -> int:
    """A layer of the dense model that has as many heads and neurons, another one for each position."""
    fitting = [n for n in dense.layers if dense.heads[n] >= heads and dense.ffn[n] >= ffn]
    return (fitting or list(dense.layers))[position % max(1, len(fitting or dense.layers))]


@torch.no_grad()
def model_of(plan: Plan, dense: nn.Module) -> Any:
    """A module on the CPU of the sizes of a plan: the first heads, neurons and features of the dense model's, pruned by
    magnitude.

    It is there to be timed, and computes nothing of use. Its table of words has few rows.
    """
    result: Any = copy.deepcopy(dense).cpu().eval()
    encoder = Encoder(result)
    if plan.hidden not in (None, encoder.hidden):
        cut_stream(result, _first_features(result), plan.hidden, damping=0.0)
    encoder.keep([layer.number for layer in plan.layers])
    # Several positions may have one layer of the dense model.
    encoder.copy_layers()
    for place, layer in enumerate(plan.layers):
        features = layer.heads * encoder.head_size(place)
        for projection in encoder.projections(place):
            narrowed(projection, projection.weight[:features], projection.bias[:features])
        set_heads(encoder.attention(place), features)
        for name, inputs in (("gathers", features), ("contracts", layer.ffn)):
            linear = encoder.linear(place, name)
            narrowed(linear, linear.weight[:, :inputs], linear.bias)
        expands = encoder.linear(place, "expands")
        narrowed(expands, expands.weight[: layer.ffn], expands.bias[: layer.ffn])
    words = result.get_input_embeddings()
    words.weight = nn.Parameter(words.weight[:_WORDS].clone())
    words.num_embeddings = result.config.vocab_size = len(words.weight)
    if plan.embedding is not None:
        factor_embedding(result, plan.embedding, torch.zeros(words.num_embeddings))
    prune_as_planned(plan, result)
    return result


def _first_features(module: nn.Module) -> Stream:
    """As if the last features went first and all were independent."""
    width = Encoder(module).hidden
    alike = Reader(torch.zeros(width), torch.eye(width))
    tokens = torch.randn(4 * width, width, generator=torch.Generator().manual_seed(0))
    return Stream(
        torch.arange(width).flip(0),
        torch.zeros(width + 1),
        dict.fromkeys(reading_layers(module), alike),
        dict.fromkeys(stream_norms(module), tokens),
    )


def prune_as_planned(plan: Plan, module: nn.Module) -> None:
    """Prunes the layers of a module in place by magnitude to the schemes and rates of its plan."""
    for scheme, rates in pruned_layers(plan, module).items():
        prune_model(module, scheme, include=list(rates), rates=rates, copy=False)
