"""The linear layers of a model as its compiled code has them: distinct shapes, and which modules each site serves.

What is measured is what runs. Fusion merges query, key and value into one layer and takes bias, activation and
residual into the layer before them, so the layers of the structural, fused module count, not those of PyTorch.
"""

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.compiler.records.digest import digest_of
from secateur.compiler.records.tuned import Tuned
from secateur.compiler.tune.task import task_text
from secateur.dialects.sparsity.ops.weight import symbol_of, weight_behind
from secateur.dialects.weight_store import WeightStore
from secateur.passes.base import PassContext, operands_by_name, walk
from secateur.passes.scheduled import schedule_records

if TYPE_CHECKING:
    from torch_mlir import ir

    from secateur.frontends import ImportedModel

    from .place import Place

# Of a signature, what the block and the sparsity decide and not the shape.
_OF_THE_ZEROS = ("encoding", "kept")


@dataclasses.dataclass(frozen=True)
class LayerShape:
    """One kind of linear layer.

    `signature`: what its speed depends on besides its zeros; `parts`: the rows of each PyTorch layer in it, in order
    (several where layers were merged); `text`: a module of it alone; `inputs`: the shape of each operand that is no
    weight; `target`: the text of the target's attribute.
    """

    signature: dict[str, Any]
    parts: tuple[int, ...]
    text: str
    inputs: dict[str, tuple[int, ...]]
    target: str

    @property
    def key(self) -> str:
        """The same for equal shapes."""
        return digest_of(self.signature, list(self.parts), self.target)

    @property
    def rows(self) -> int:
        """Output features of the layer."""
        return int(self.signature["rows"])

    @property
    def columns(self) -> int:
        """Input features of the layer."""
        return int(self.signature["columns"])

    @property
    def label(self) -> str:
        """For tables: `1152 x 384 (3 merged)`, `1536 x 384 + gelu`."""
        text = f"{self.rows} x {self.columns}"
        if len(self.parts) > 1:
            text += f" ({len(self.parts)} merged)"
        added = [str(a).strip('"') for n, a in self.signature["attributes"].items() if n == "activation"]
        added += [name for name in self.signature["operands"] if name == "residual"]
        return " + ".join([text, *added])


@dataclasses.dataclass(frozen=True)
class Site:
    """A layer of the compiled model: the PyTorch modules whose weights it holds, and the key of its shape."""

    modules: tuple[str, ...]
    shape: str


@dataclasses.dataclass(frozen=True)
class ModelLayers:
    """What of a model can be pruned: its distinct `shapes` by key, its `sites` in program order, and the modules that
    were asked for and are `left_out`, because they are merged with a layer that is not to be pruned, or have no linear
    layer of their own in the compiled model.
    """

    shapes: dict[str, LayerShape]
    sites: tuple[Site, ...]
    left_out: tuple[str, ...] = ()

    def count(self, key: str) -> int:
        """How many sites have the shape."""
        return sum(site.shape == key for site in self.sites)


def model_layers(imported: "ImportedModel", place: "Place", prunable: Collection[str], scratch: Path) -> ModelLayers:
    """The layers of an imported model, which is not changed, as they are compiled for `place` with what was tuned.

    `prunable`: names of the modules that may be pruned. `scratch`: a folder for what passes read.
    """
    from secateur.compiler.build.target_build import describe_target
    from secateur.compiler.pipeline.levels import Lowering, pipeline_to, with_options

    lowering = Lowering.of_copy(imported.module, imported.weights)
    describe_target(lowering.module, place.target)
    lowering.lower("structural", pipeline_to("structural"))
    tuned = Tuned.of(place.target, numbers=place.numbers)
    if tuned.variants:
        # What fits is looked for in a copy: looking simplifies the module.
        looked_into = Lowering.of_copy(lowering.module, lowering.weights)
        tuned = tuned.fitting(looked_into.module, looked_into.weights)
    options = {"sparsity-fuse": tuned.pass_options(scratch).get("sparsity-fuse"), **place.numbers.pass_options()}
    lowering.lower("structural", ",".join(with_options(name, given) for name, given in options.items()))
    return layers_of_module(lowering.module, lowering.weights, prunable)


def layers_of_module(module: "ir.Module", weights: WeightStore, prunable: Collection[str]) -> ModelLayers:
    """The layers of a structural, fused module; otherwise as `model_layers`."""
    context, text = PassContext(weights), schedule_records.target_text(module)
    shapes: dict[str, LayerShape] = {}
    sites = []
    for op in walk(module, "sparsity.linear"):
        signature = schedule_records.signature_of(op, context)
        weight = weight_behind(op.weight)
        if signature is None or weight is None or signature["type"] != "f32":
            continue
        # Merged weights are named a+b+c, weights that a constant was folded into a*scale.
        symbols = [part.partition("*")[0] for part in (symbol_of(weight) or "").split("+")]
        modules = tuple(symbol.removesuffix(".weight") for symbol in symbols)
        parts = tuple(weights[symbol].shape[0] for symbol in symbols if symbol in weights)
        # A weight that is no rows of its sources any more (a product of two) has no zeros that pruning decides.
        if not set(modules) <= set(prunable) or len(parts) != len(symbols) or sum(parts) != signature["rows"]:
            continue
        operands = operands_by_name(op)
        shape = LayerShape(
            signature={name: value for name, value in signature.items() if name not in _OF_THE_ZEROS},
            parts=parts,
            text=task_text(module, op),
            inputs={n: tuple(v.type.shape) for n, v in operands.items() if weight_behind(v) is None},
            target=text,
        )
        shapes.setdefault(shape.key, shape)
        sites.append(Site(modules, shape.key))
    served = {name for site in sites for name in site.modules}
    return ModelLayers(shapes, tuple(sites), tuple(name for name in prunable if name not in served))
