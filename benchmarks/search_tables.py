"""Makes the tables that controllers are compared on: small spaces of which every candidate was measured once.

    python -m secateur.benchmarks.search_tables --model SQUAD_MODEL [--only rates]

SQUAD_MODEL is a MiniLM-L6 that answers SQuAD's questions, such as `make demo KEEP=DIR` leaves in `DIR/dense`.
Figures: `kl`, by how much the distributions of the answer's start and end move away from the dense model's, in nats, a
mean over windows of SQuAD; `latency_ms`, the summed times of the layers that the space is about, from the table of
latencies of compiled layers.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from secateur.compression.latency.measure import measure_table
from secateur.compression.latency.place import place_of
from secateur.compression.latency.shapes import model_layers
from secateur.compression.latency.table import LatencyTable
from secateur.compression.prune.layers import prunable_layers
from secateur.compression.prune.projections import project
from secateur.compression.prune.scheme import parse_scheme
from secateur.compression.search.space import Dimension, Space

FOLDER = Path(__file__).parent / "tables"
WINDOW, WINDOWS = 128, 4
KINDS = {
    "qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention": ("attention.output.dense",),
    "ffn_in": ("intermediate.dense",),
    "ffn_out": ("output.dense",),
}
BLOCKS = ("4x1", "16x1")
RATES = (0.0, 0.5, 0.6, 0.7, 0.8)
WIDTHS = (0, 384, 768, 1536)

rates_space = Space(
    "rates",
    (
        Dimension("block", BLOCKS),
        *(Dimension(kind, RATES, phase=1) for kind in KINDS),
    ),
)
OPTIONS = ("dense", "4x1 at 0.5", "4x1 at 0.7", "16x1 at 0.8")
layers_space = Space("layers", tuple(Dimension(f"layer{n}", OPTIONS) for n in range(6)))
widths_space = Space("widths", tuple(Dimension(f"layer{n}", WIDTHS) for n in range(6)))


class Windows:
    """Windows of SQuAD and what the dense model answers on them."""

    def __init__(self, folder: str) -> None:
        from transformers import AutoModelForQuestionAnswering

        from secateur.tasks import get_task, load_tokenizer

        torch.set_grad_enabled(False)
        self.model = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
        (batch,) = get_task("squad").calibration_inputs(load_tokenizer(folder), samples=WINDOWS, window=WINDOW)
        self.inputs = {name: torch.as_tensor(array) for name, array in batch.items()}
        self._kept = self.inputs["attention_mask"].bool()
        self._dense = self._distributions(self.model(**self.inputs))

    def _distributions(self, output: Any) -> torch.Tensor:
        logits = torch.stack([output.start_logits, output.end_logits]).double()
        return logits.masked_fill(~self._kept, -1e4).log_softmax(-1)

    def divergence(self, output: Any) -> float:
        """Nats between the dense model's distributions and these, the mean over windows, start and end."""
        found = self._distributions(output)
        return float((self._dense.exp() * (self._dense - found)).sum(-1).mean())


def rates_table(windows: Windows) -> dict[str, list[float]]:
    """Block and rate for each kind of layer; zeros by magnitude, nothing corrected."""
    latencies = _layer_times(windows.model, RATES[1:])
    layers = dict(windows.model.named_modules())
    dense = {name: layer.weight.clone() for name, layer in layers.items() if _kind(name)}
    pruned: dict[tuple[str, str, float], torch.Tensor] = {}
    for name, weight in dense.items():
        for block in BLOCKS:
            for rate in RATES:
                mask = project(weight.numpy(), parse_scheme("bcr", block), rate) if rate else np.ones(1, bool)
                pruned[name, block, rate] = weight * torch.as_tensor(mask)
    figures: dict[str, list[float]] = {"kl": [], "latency_ms": []}
    for number, candidate in enumerate(rates_space.enumerate()):
        for name in dense:
            kind = _kind(name)
            assert kind is not None
            layers[name].weight.copy_(pruned[name, candidate["block"], candidate[kind]])  # type: ignore[index]
        figures["kl"].append(windows.divergence(windows.model(**windows.inputs)))
        figures["latency_ms"].append(sum(latencies[kind, candidate["block"], candidate[kind]] for kind in KINDS))
        _tell(number, rates_space)
    for name, weight in dense.items():
        layers[name].weight.copy_(weight)
    return figures


def _kind(name: str) -> str | None:
    inside = name.partition("encoder.layer.")[2].partition(".")[2]
    return next((kind for kind, modules in KINDS.items() if inside in modules), None)


def _layer_times(module: torch.nn.Module, rates: tuple[float, ...]) -> dict[tuple[str, Any, Any], float]:
    """Milliseconds of all layers of a kind by (kind, block, rate); `(kind, block, 0.0)` is the dense layer's."""
    table, kinds = _table(module, BLOCKS, rates)
    return {
        (kind, block, rate): table.counts[key] * table.cost(key, parse_scheme("bcr", block), rate)
        for key, kind in kinds.items()
        for block in BLOCKS
        for rate in (0.0, *rates)
    }


def _table(
    module: torch.nn.Module, blocks: tuple[str, ...], rates: tuple[float, ...]
) -> tuple[LatencyTable, Mapping[str, str]]:
    """The table of a BERT's layers, and the kind of each of its shapes by key."""
    from secateur.frontends import import_model, load

    ids = torch.zeros((1, WINDOW), dtype=torch.long)
    loaded = load(module, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, WINDOW, 1)
    schemes = [parse_scheme("bcr", block) for block in blocks]
    prunable, _ = prunable_layers(loaded.module, schemes[0], None, None)
    place = place_of("host-cpu")
    imported = import_model(loaded.module, loaded.example_inputs)
    with tempfile.TemporaryDirectory() as scratch:
        layers = model_layers(imported, place, list(prunable), Path(scratch))
    kinds = {site.shape: kind for site in layers.sites if (kind := _kind(site.modules[0])) is not None}
    shapes = {key: layers.shapes[key] for key in kinds}
    counts = {key: layers.count(key) for key in shapes}
    return measure_table(shapes, counts, schemes, place, sparsities=rates, progress=print), kinds


def widths_table(windows: Windows) -> dict[str, list[float]]:
    """Neurons that the FFN of each layer keeps: those with the largest product of the norms of what they read and
    what they give. A layer without any has its bias and its residual left, and costs nothing.
    """
    times = {0: 0.0} | {width: _ffn_time(windows.model.config, width) for width in WIDTHS[1:]}
    kept = [_kept_neurons(layer) for layer in windows.model.bert.encoder.layer]

    def narrow(depth: int, layer: Any, x: torch.Tensor, mask: torch.Tensor, width: int) -> torch.Tensor:
        return _narrow(layer, x, mask, kept[depth], width)

    return _layer_by_layer(windows, widths_space, narrow, times)


def layers_table(windows: Windows) -> dict[str, list[float]]:
    """Scheme and rate of each layer, the same for all of its weights; zeros by magnitude, nothing corrected."""
    latencies = _layer_times(windows.model, RATES[1:])
    layers = windows.model.bert.encoder.layer
    times, weights = {}, {}
    for option in OPTIONS:
        block, rate = _parsed(option)
        times[option] = sum(latencies[kind, block, rate] for kind in KINDS) / len(layers)
        scheme = parse_scheme("bcr", block)
        for depth, layer in enumerate(layers):
            for name, inner in layer.named_modules():
                if any(name in modules for modules in KINDS.values()):
                    mask = project(inner.weight.numpy(), scheme, rate) if rate else np.ones(1, bool)
                    weights[option, depth, name] = inner.weight * torch.as_tensor(mask)

    def pruned(depth: int, layer: Any, x: torch.Tensor, mask: torch.Tensor, option: str) -> torch.Tensor:
        modules = dict(layer.named_modules())
        for (of, at, name), weight in weights.items():
            if (of, at) == (option, depth):
                modules[name].weight.copy_(weight)
        result = layer(x, mask)
        found: torch.Tensor = result[0] if isinstance(result, tuple) else result
        return found

    return _layer_by_layer(windows, layers_space, pruned, times)


def _parsed(option: str) -> tuple[str, float]:
    block, _, rate = option.partition(" at ")
    return (block, float(rate)) if rate else (BLOCKS[0], 0.0)


def _layer_by_layer(
    windows: Windows, space: Space, apply: Callable[..., torch.Tensor], times: Mapping[Any, float]
) -> dict[str, list[float]]:
    """The figures of a space with a dimension for each layer. `apply(depth, layer, x, mask, choice)` is a layer's
    output, `times` what a layer costs by its choice."""
    bert = windows.model.bert
    mask = (1.0 - windows.inputs["attention_mask"][:, None, None].float()) * -1e9
    # What each layer gave for the candidate before: the last layer changes fastest.
    outputs = [bert.embeddings(**{k: v for k, v in windows.inputs.items() if k != "attention_mask"})]
    before: list[Any] = []
    figures: dict[str, list[float]] = {"kl": [], "latency_ms": []}
    for number, candidate in enumerate(space.enumerate()):
        choices = list(candidate.values())
        same = next((n for n, (a, b) in enumerate(zip(choices, before, strict=False)) if a != b), 0)
        del outputs[same + 1 :]
        for depth in range(same, len(choices)):
            outputs.append(apply(depth, bert.encoder.layer[depth], outputs[-1], mask, choices[depth]))
        before = choices
        start, end = windows.model.qa_outputs(outputs[-1]).unbind(-1)
        figures["kl"].append(windows.divergence(_Logits(start, end)))
        figures["latency_ms"].append(sum(times[choice] for choice in choices))
        _tell(number, space)
    return figures


class _Logits:
    def __init__(self, start: torch.Tensor, end: torch.Tensor) -> None:
        self.start_logits, self.end_logits = start, end


def _kept_neurons(layer: Any) -> torch.Tensor:
    """Neurons of the FFN, the most important first."""
    worth = layer.intermediate.dense.weight.norm(dim=1) * layer.output.dense.weight.norm(dim=0)
    return worth.argsort(descending=True)


def _narrow(layer: Any, x: torch.Tensor, mask: torch.Tensor, order: torch.Tensor, width: int) -> torch.Tensor:
    """The layer's output with the first `width` neurons of `order`."""
    x = layer.attention(x, mask)
    x = x[0] if isinstance(x, tuple) else x
    some = order[:width]
    first, second = layer.intermediate.dense, layer.output.dense
    inner = torch.nn.functional.gelu(x @ first.weight[some].T + first.bias[some])
    result: torch.Tensor = layer.output.LayerNorm(inner @ second.weight[:, some].T + second.bias + x)
    return result


def _ffn_time(config: Any, width: int) -> float:
    """Milliseconds of a dense FFN of that width in the compiled model: both of its layers."""
    from transformers import BertConfig, BertModel

    narrow = BertConfig(**{**config.to_dict(), "num_hidden_layers": 1, "intermediate_size": width})
    table, kinds = _table(BertModel(narrow).eval(), ("16x1",), (0.9,))
    return sum(table.dense[key] for key, kind in kinds.items() if kind.startswith("ffn"))


def _tell(number: int, space: Space) -> None:
    if number % 200 == 0:
        print(f"{space.name}: {number} of {space.size}", flush=True)


TABLES = {
    "rates": (rates_space, rates_table),
    "widths": (widths_space, widths_table),
    "layers": (layers_space, layers_table),
}


def main(arguments: list[str] | None = None) -> None:
    """Measures the tables and writes them to `benchmarks/tables`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", required=True, metavar="DIR", help="a MiniLM-L6 trained on SQuAD")
    parser.add_argument("--only", choices=tuple(TABLES), help="make one of them")
    options = parser.parse_args(arguments)
    windows = Windows(options.model)
    for name, (space, made) in TABLES.items():
        if options.only in (None, name):
            began = time.monotonic()
            figures = made(windows)
            table = {
                "dimensions": [[d.name, list(d.choices), d.phase] for d in space.dimensions],
                "figures": {figure: [float(f"{v:.5g}") for v in values] for figure, values in figures.items()},
                "seconds": round(time.monotonic() - began),
            }
            FOLDER.mkdir(exist_ok=True)
            (FOLDER / f"{name}.json").write_text(json.dumps(table, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
