"""The model that a candidate is, with the weights it inherits: cut out of the dense one, then pruned. Imports torch."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from secateur.compression.prune.scheme import Scheme
from secateur.compression.prune.second_order import prune_second_order
from secateur.compression.prune.second_order.model import DAMPING
from secateur.dialects.number_formats import NumberFormat, NumberPlan

from ..cut import Architecture, Statistics, cut_model
from ..cut.embedding import embedding_rank
from ..cut.encoder import Encoder
from ..cut.refit import refit
from ..cut.statistics import Batches
from ..errors import SearchError
from ..space import Candidate
from .plan import Plan, plan_of


def plan_for(candidate: Candidate, dense: nn.Module) -> Plan:
    """The plan of a candidate for a module; an `embedding` that is not narrower than the table of words is None.

    Raises `SearchError`, also where the module has not got these sizes.
    """
    own, encoder, table = Architecture.of(dense), Encoder(dense), embedding_rank(dense)
    plan = plan_of(candidate, own.heads, own.ffn)
    architecture_of(plan).check(dense)
    # A table as wide as the stream becomes as wide as that.
    width = plan.hidden or table if table == encoder.hidden else table
    return plan if plan.embedding is None or plan.embedding < width else dataclasses.replace(plan, embedding=None)


def architecture_of(plan: Plan) -> Architecture:
    """The architecture of a plan."""
    return Architecture(
        tuple(layer.number for layer in plan.layers),
        tuple(layer.heads for layer in plan.layers),
        tuple(layer.ffn for layer in plan.layers),
        plan.hidden,
        plan.embedding,
    )


def build(
    candidate: Candidate,
    dense: nn.Module,
    statistics: Statistics,
    batches: Batches | None = None,
    *,
    inputs: str = "pruned",
    progress: Callable[[int, int, str], None] | None = None,
) -> Any:
    """The module of a candidate, in evaluation mode: cut out of `dense` by `statistics` (`cut_model`), solved for again
    on the calibration inputs `batches` where layers were left out (`refit`), then pruned to the candidate's schemes and
    rates on the same inputs (`prune_second_order`, where `inputs` and `progress` are described); the same module for
    the same line of JSON and the same inputs.

    Raises `SearchError` for a candidate that says nothing or that is not in the model, and where it is pruned and
    there are no `batches`; `PruneError` for a block that does not fit.
    """
    plan = plan_for(candidate, dense)
    architecture = architecture_of(plan)
    module = cut_model(dense, architecture, statistics)
    if batches is not None and len(plan.layers) < len(Encoder(dense).layers):
        refit(module, dense, architecture, statistics, batches, DAMPING)
    if batches is None and any(layer.pruning for layer in plan.layers):
        raise SearchError("the candidate is pruned, for which calibration inputs are needed; found none")
    for scheme, rates in pruned_layers(plan, module).items():
        # A layer that is pruned already keeps its zeros: each has one scheme.
        prune_second_order(
            module,
            batches or (),
            scheme,
            rates=rates,
            include=list(rates),
            copy=False,
            inputs=inputs,
            progress=progress,
        )
    return module


def number_plan(plan: Plan, module: nn.Module) -> NumberPlan:
    """The formats of the layers of the cut `module` by name. Attention itself is computed as its projections are."""
    encoder = Encoder(module)
    names = {layer: name for name, layer in module.named_modules()}
    found: list[tuple[str, NumberFormat]] = []
    for place, layer in enumerate(plan.layers):
        if layer.numbers:
            parts = {"output": "gathers", "ffn_in": "expands", "ffn_out": "contracts"}
            patterns = {kind: names[encoder.linear(place, part)] for kind, part in parts.items()}
            # In some families the attention has what reads the heads in it: that comes first.
            patterns["qkv"] = f"{names[encoder.attention(place)]}*"
            found += [(pattern, layer.numbers.get(kind, plan.numbers)) for kind, pattern in patterns.items()]
    return NumberPlan(plan.numbers, tuple(found))


def pruned_layers(plan: Plan, module: nn.Module) -> dict[Scheme, dict[str, float]]:
    """By scheme, the names of the linear layers of the cut `module` that it prunes, and the rate of each."""
    encoder = Encoder(module)
    names = {layer: name for name, layer in module.named_modules()}
    found: dict[Scheme, dict[str, float]] = {}
    for place, layer in enumerate(plan.layers):
        linears: Mapping[str, list[nn.Linear]] = {
            "qkv": encoder.projections(place),
            "output": [encoder.linear(place, "gathers")],
            "ffn_in": [encoder.linear(place, "expands")],
            "ffn_out": [encoder.linear(place, "contracts")],
        }
        for kind, (scheme, rate) in layer.pruning.items():
            found.setdefault(scheme, {}).update({names[linear]: rate for linear in linears[kind]})
    return found
