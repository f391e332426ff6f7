"""Times one encoder layer on a GPU, kernel by kernel: Secateur's, and stock IREE's.

    python -m secateur.benchmarks.gpu [--target android-vulkan] [--layer minilm-l6] [--batch 1]

Sequences of 128 tokens, random weights, pruned by magnitude in bands of 16 rows. The first GPU with Vulkan runs it.
Where that is Mesa's lavapipe, the CPU does its work: counts, bytes and ratios say something of a GPU, milliseconds
nothing. With `--build` nothing is timed: the modules and their parameters stay in a folder, for IREE's tools on a
machine with a GPU.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.dialects.scratch import ScratchFolder

from . import models

if TYPE_CHECKING:
    import torch

    from secateur.runtime_targets.targets import Target

STOCK = "stock IREE, dense"
LAYERS = {
    "minilm-l6": {"hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536},
    "bert-base": {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
}


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer of `LAYERS`, for `batch` sequences, and the share of zeros that it is pruned to."""

    name: str
    batch: int
    sparsity: float

    @property
    def input_shape(self) -> list[int]:
        """Of the hidden states; nothing masks tokens here."""
        return [self.batch, models.TOKENS, LAYERS[self.name]["hidden_size"]]


@dataclasses.dataclass(frozen=True)
class Timed:
    """A candidate: the least time of each of its dispatches, by kernel, in order, and the bytes that they read and
    write, where those are known."""

    name: str
    kernels: list[tuple[str, float]]
    moved_bytes: int | None

    def milliseconds(self, part: str = "") -> float:
        """Of the kernels whose names begin with `part`."""
        return sum(ms for kernel, ms in self.kernels if kernel.startswith(part))


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m secateur.benchmarks.gpu", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--target", default="android-vulkan", help="what code is made for")
    parser.add_argument("--layer", default="minilm-l6", choices=LAYERS, help="whose shape the layer has")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="sequences of 128 tokens")
    parser.add_argument("--sparsity", type=float, default=0.9, metavar="FRACTION")
    parser.add_argument("--stock-target", metavar="NAME", help="IREE's name of the GPU that its code is made for")
    parser.add_argument(
        "--turns", type=int, default=5, metavar="N", help="of all candidates; each runs 12 times in one"
    )
    parser.add_argument("--kernels", action="store_true", help="list every dispatch")
    parser.add_argument("--build", type=Path, metavar="FOLDER", help="only make the modules, in FOLDER")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    from rich.console import Console

    from secateur.compiler.measure.tables import table
    from secateur.runtime_targets.targets import get_target

    options, console = parse(arguments), Console()
    target, layer = get_target(options.target), Layer(options.layer, options.batch, options.sparsity)
    if options.build:
        for name, (folder, _) in build(layer, target, options.stock_target, options.build).items():
            console.print(f"{folder}: {name}")
        return 0
    with ScratchFolder("gpu") as scratch:
        found = measure(build(layer, target, options.stock_target, Path(scratch)), layer, target, options.turns)
    rows = []
    for timed in found:
        linears = timed.milliseconds("gpu_linear")
        rest = timed.milliseconds() - linears
        parts = ("", "") if timed.name == STOCK else (f"{linears:.2f}", f"{rest:.2f}")
        moved = "" if timed.moved_bytes is None else f"{timed.moved_bytes / 1e6:.1f}"
        rows.append((timed.name, str(len(timed.kernels)), *parts, f"{timed.milliseconds():.2f}", moved))
    columns = ("", "dispatches", "linears, ms", "rest, ms", "all, ms", "moved, MB")
    console.print(table(columns, rows))
    if options.kernels:
        for timed in found:
            console.print(table((timed.name, "ms"), [(kernel, f"{ms:.3f}") for kernel, ms in timed.kernels]))
    return 0


Built = dict[str, tuple[Path, int | None]]
"""Name of a candidate -> the folder with its code and parameters, and the bytes that a run moves, where known."""


def build(layer: Layer, target: "Target", stock_target: str | None, folder: Path) -> Built:
    """All candidates, each in a folder of its own in `folder`."""
    dense = models.encoder_layer("sdpa", **LAYERS[layer.name])
    pruned = models.pruned(dense, "bcr", "16x1", layer.sparsity)
    candidates: Built = {}
    for name, module, numbers, where in (
        (f"{layer.sparsity:.0%} 16x1", pruned, ("f32", "f32"), "sparse"),
        (f"{layer.sparsity:.0%} 16x1, weights of f16", pruned, ("f16", "f32"), "sparse-f16"),
        (f"{layer.sparsity:.0%} 16x1, f16", pruned, ("f16", "f16"), "sparse-in-f16"),
        (f"{layer.sparsity:.0%} 16x1, int8", pruned, ("int8", "int8"), "sparse-int8"),
        ("dense", dense, ("f32", "f32"), "dense"),
        ("dense, int8", dense, ("int8", "int8"), "dense-int8"),
    ):
        if numbers[0] != "f16" or target.f16:
            candidates[name] = _ours(module, layer, target, numbers, folder / where)
    flags = target.iree_flags
    if stock_target is not None:
        flags = ("--iree-hal-target-device=vulkan", f"--iree-vulkan-target={stock_target}")
    candidates[STOCK] = (_stock(layer, flags, folder / "stock"), None)
    return candidates


def measure(candidates: Built, layer: Layer, target: "Target", turns: int) -> list[Timed]:
    """All candidates in turns, each time the least of all runs."""
    from secateur.runtime_targets.iree.vulkan import gpu_uri
    from secateur.runtime_targets.profile import profile_module

    uri, best = gpu_uri(target.subgroup), dict[str, list[tuple[str, float]]]()
    for _ in range(turns):
        for name, (where, _) in candidates.items():
            words = ["x".join([*map(str, layer.input_shape), "f32=0.5"])]
            calls = profile_module(where / "model.vmfb", [where / "weights.irpa"], words, 1, 12, uri).calls
            now = [(call.kernel, call.min_ms) for call in calls]
            before = best.get(name, now)
            best[name] = [(kernel, min(ms, old)) for (kernel, ms), (_, old) in zip(now, before, strict=True)]
    return [Timed(name, best[name], moved) for name, (_, moved) in candidates.items()]


def _ours(
    module: "torch.nn.Module", layer: Layer, target: "Target", numbers: tuple[str, str], folder: Path
) -> tuple[Path, int | None]:
    from secateur.compiler import compile_model
    from secateur.runtime_targets.bundle import open_bundle

    weights, arithmetic = numbers
    compile_model(module, _inputs(layer), target=target.name, weights=weights, arithmetic=arithmetic).save(folder)
    with open_bundle(folder) as bundle:
        work = bundle.target().dispatches
        moved = sum(w.read_bytes + w.written_bytes + w.weight_bytes + w.index_bytes for w in work)
    return folder, moved


def _inputs(layer: Layer) -> "dict[str, torch.Tensor]":
    import torch

    torch.manual_seed(1)
    return {"hidden_states": torch.randn(layer.input_shape)}


def _stock(layer: Layer, flags: Sequence[str], folder: Path) -> Path:
    """torch-mlir's own lowering and IREE as it is; results are not used."""
    from iree.compiler import tools

    from secateur.compiler.pipeline.passmanager import run_pipeline
    from secateur.frontends import evaluation_copy, import_model
    from secateur.passes.base import PassContext
    from secateur.runtime_targets import iree

    # torch-mlir lowers the attention of separate products.
    module = models.encoder_layer("eager", **LAYERS[layer.name])
    imported = import_model(evaluation_copy(module), _inputs(layer))
    run_pipeline(imported.module, "torch-to-linalg", PassContext(imported.weights))
    assembly = iree.assemble(imported.module, imported.weights)
    folder.mkdir(parents=True)
    code = tools.compile_str(assembly.text, extra_args=list(flags), input_type="auto")
    (folder / "model.vmfb").write_bytes(code)
    iree.write_parameters(folder / "weights.irpa", dict(assembly.parameters))
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
