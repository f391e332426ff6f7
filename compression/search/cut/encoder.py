"""Where encoders of transformers keep their layers, heads and FFN: one table, and a module seen through it."""

import copy
import dataclasses
from typing import Any

import torch
from torch import nn

from ..errors import SearchError


@dataclasses.dataclass(frozen=True)
class Family:
    """Module names: the list of `layers` within the bare model, the rest within one of these layers.

    `attention` holds the linear layers `projections` (query, key, value); `gathers` reads all heads, `expands` has the
    neurons of the FFN as outputs and `contracts` reads them. `width` is the name that the config has for their number.
    `bias_of_heads`: all layers share a bias that has an entry for each head, so that no layer can have fewer.
    """

    layers: str
    attention: str
    projections: tuple[str, str, str]
    gathers: str
    expands: str
    contracts: str
    width: str = "intermediate_size"
    bias_of_heads: bool = False


_BERT = Family(
    "encoder.layer",
    "attention.self",
    ("query", "key", "value"),
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
FAMILIES = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra"), _BERT),
    "distilbert": Family(
        "transformer.layer",
        "attention",
        ("q_lin", "k_lin", "v_lin"),
        "attention.out_lin",
        "ffn.lin1",
        "ffn.lin2",
        width="hidden_dim",
    ),
    "mpnet": dataclasses.replace(
        _BERT,
        attention="attention.attn",
        projections=("q", "k", "v"),
        gathers="attention.attn.o",
        bias_of_heads=True,
    ),
}
"""By `model_type` of the config."""


class Encoder:
    """The layers of a module, which may be a bare encoder or one with a task's head.

    Raises `SearchError` for a model of another family, and for a decoder.
    """

    def __init__(self, module: nn.Module) -> None:
        config: Any = getattr(module, "config", None)
        kind = getattr(config, "model_type", None)
        if kind not in FAMILIES:
            found = type(module).__name__ if kind is None else f"a model of the type '{kind}'"
            raise SearchError(f"models of the types {', '.join(FAMILIES)} can be cut, found {found}", usage=True)
        if getattr(config, "is_decoder", False):
            raise SearchError("encoders can be cut, found a decoder", usage=True)
        self.config = config
        self.family = FAMILIES[kind]
        self.base: Any = getattr(module, str(getattr(module, "base_model_prefix", "")), module)

    @property
    def layers(self) -> nn.ModuleList:
        """The layers; what holds them can be given others by `keep`."""
        found: nn.ModuleList = self.base.get_submodule(self.family.layers)
        return found

    def keep(self, numbers: "tuple[int, ...] | list[int]") -> None:
        """Leaves the layers `numbers`, in this order; the config says how many."""
        holder, _, name = self.family.layers.rpartition(".")
        setattr(self.base.get_submodule(holder), name, nn.ModuleList([self.layers[number] for number in numbers]))
        self.config.num_hidden_layers = len(numbers)

    def copy_layers(self) -> None:
        """Gives each layer weights of its own, where `keep` took one several times."""
        holder, _, name = self.family.layers.rpartition(".")
        layers = nn.ModuleList([copy.deepcopy(layer) for layer in self.layers])
        setattr(self.base.get_submodule(holder), name, layers)

    def attention(self, number: int) -> Any:
        """The module of layer `number` that holds the projections."""
        return self.layers[number].get_submodule(self.family.attention)

    def projections(self, number: int) -> list[nn.Linear]:
        """Query, key and value."""
        return [getattr(self.attention(number), name) for name in self.family.projections]

    def linear(self, number: int, part: str) -> nn.Linear:
        """The layer that is the family's `gathers`, `expands` or `contracts`."""
        found: Any = self.layers[number].get_submodule(getattr(self.family, part))
        return found

    def head_size(self, number: int) -> int:
        """Features of a head, as its layer was built; cutting heads leaves it."""
        return int(self.attention(number).attention_head_size)

    def heads(self, number: int) -> int:
        """Heads of a layer."""
        return self.projections(number)[0].out_features // self.head_size(number)

    @property
    def hidden(self) -> int:
        """Features of the stream between layers."""
        return self.linear(0, "expands").in_features

    def width(self, number: int) -> int:
        """Neurons of a layer's FFN."""
        return self.linear(number, "expands").out_features


def narrowed(linear: nn.Linear, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
    """Gives a linear layer another weight [outputs, inputs] and bias [outputs], of another size."""
    old = linear.weight
    linear.weight = nn.Parameter(weight.detach().to(old).contiguous().clone(), requires_grad=old.requires_grad)
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach().to(old).contiguous().clone(), requires_grad=old.requires_grad)
    linear.out_features, linear.in_features = weight.shape
