"""The shape of an encoder: which layers of the dense model it has, and the heads and FFN neurons of each."""

import dataclasses

from torch import nn

from ..errors import SearchError
from .encoder import Encoder


@dataclasses.dataclass(frozen=True)
class Architecture:
    """`layers`: numbers of layers of the dense model, rising; `heads` and `ffn` (neurons): one number for each of them.
    `hidden`: features of the stream between layers, a multiple of a head's; None: as the dense model has them.
    `embedding`: features of the table of words, which is factored where they are fewer than it has; None: it stays.

    Raises `SearchError` where these contradict each other.
    """

    layers: tuple[int, ...]
    heads: tuple[int, ...]
    ffn: tuple[int, ...]
    hidden: int | None = None
    embedding: int | None = None

    def __post_init__(self) -> None:
        for name in ("layers", "heads", "ffn"):
            object.__setattr__(self, name, tuple(int(number) for number in getattr(self, name)))
        if not self.layers or list(self.layers) != sorted(set(self.layers)) or self.layers[0] < 0:
            raise SearchError(f"the layers of an architecture are rising numbers from 0, found {list(self.layers)}")
        for name, numbers in (("heads", self.heads), ("ffn", self.ffn)):
            if len(numbers) != len(self.layers):
                raise SearchError(
                    f"'{name}' of an architecture has a number for each of its {len(self.layers)} layers, found"
                    f" {len(numbers)}"
                )
            if min(numbers) < 1:
                raise SearchError(f"'{name}' of an architecture is at least 1 in each layer, found {min(numbers)}")

    @classmethod
    def of(cls, module: nn.Module) -> "Architecture":
        """The architecture of a module that has all of its layers. Raises `SearchError` for other families."""
        encoder = Encoder(module)
        numbers = range(len(encoder.layers))
        return cls(
            tuple(numbers),
            tuple(encoder.heads(number) for number in numbers),
            tuple(encoder.width(number) for number in numbers),
        )

    def check(self, module: nn.Module) -> None:
        """Raises `SearchError` unless this can be cut out of `module`."""
        encoder, dense = Encoder(module), Architecture.of(module)
        if self.layers[-1] >= len(dense.layers):
            raise SearchError(f"the model has {len(dense.layers)} layers, from 0; found layer {self.layers[-1]}")
        size = encoder.head_size(0)
        if self.hidden is not None and (not 0 < self.hidden <= encoder.hidden or self.hidden % size):
            raise SearchError(
                f"the hidden width is a multiple of {size}, the features of a head, up to {encoder.hidden}; found"
                f" {self.hidden}"
            )
        if self.hidden not in (None, encoder.hidden):
            _check_hidden(module, encoder, self.hidden)
        if self.embedding is not None:
            if self.embedding < 1:
                raise SearchError(f"the embedding of words has at least 1 feature, found {self.embedding}")
            _check_no_words_out(module, "the embedding of words")
        for place, number in enumerate(self.layers):
            for what, wanted, most in (
                ("heads", self.heads[place], dense.heads[number]),
                ("FFN neurons", self.ffn[place], dense.ffn[number]),
            ):
                if wanted > most:
                    raise SearchError(f"layer {number} of the model has {most} {what}, found {wanted} to be kept")
            if encoder.family.bias_of_heads and self.heads[place] != dense.heads[number]:
                kind = encoder.config.model_type
                raise SearchError(
                    f"the layers of a model of the type '{kind}' share a bias for each head, so that all of them keep"
                    f" their {dense.heads[number]} heads; found {self.heads[place]} in layer {number}"
                )


def _check_hidden(module: nn.Module, encoder: Encoder, hidden: int | None) -> None:
    name = type(module).__name__
    _check_no_words_out(module, "the hidden width")
    if encoder.family.bias_of_heads:
        # The config says the number of heads by the hidden width, and the size of the bias by that.
        raise SearchError(f"the hidden width of a {name} stays: its layers share a bias for each head")
    if getattr(encoder.config, "embedding_size", None) == hidden:
        # Transformers would leave out the projection behind them.
        raise SearchError(f"the hidden width of this {name} is not {hidden}, that of its embeddings")


def _check_no_words_out(module: nn.Module, what: str) -> None:
    if getattr(module, "get_output_embeddings", lambda: None)() is not None:
        # Its weights are those of the embedding of words.
        raise SearchError(f"{what} of a {type(module).__name__} stays: its outputs are words")
