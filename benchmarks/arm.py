"""Counts one encoder layer of BERT-base on an emulated Arm CPU: Secateur, stock IREE and LiteRT. Run: `make bench-arm`.

128 tokens, hidden size 768, 12 heads, FFN 3072, f32 and int8, batch 1, one thread, random weights (what is executed
does not depend on training). Every linear is pruned by magnitude in one shot. Counts are exact and no times.
"""

import argparse
import dataclasses
import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.dialects.scratch import ScratchFolder
from secateur.runtime_targets.devices.counting import Counts, cycle_estimates

from .arm_litert import LIBRARY, count_litert
from .models import BYTES, TOKENS, encoder_layer
from .peers.process import PeerError
from .peers.registry import PEERS, ROUNDED, Peer, environments_folder

if TYPE_CHECKING:
    import torch
    from rich.console import Console

    from secateur.compiler.measure.instruction_cost import HotLoop

BLOCKS = {"16x1": "bands of 16 rows", "4x1": "4x1 units", "4x16": "4x16 blocks"}
"""The BCR blocks of the table; the bars are those of the first."""
UNITS = {"4x4": "tile", "16x4": "tile", "16x1": "bcr", "4x1": "bcr"}
"""What is counted in int8: block -> scheme."""
STOCK, LITERT, LITERT_INT8 = "stock IREE, dense", "LiteRT (XNNPACK), dense", "LiteRT (XNNPACK), dense, int8"


@dataclasses.dataclass(frozen=True)
class Row:
    """One inference of one candidate: counts in its kernels and in the rest of its process, cycles by llvm-mca, the
    relative L2 distance of its output from PyTorch's, products over the products needed, and its hottest loops.
    """

    name: str
    kernels: Counts
    rest_instructions: int
    cycles: float | None
    relative_l2: float | None
    fma_ratio: float | None = None
    loops: "tuple[HotLoop, ...]" = ()


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m secateur.benchmarks.arm", description=__doc__)
    parser.add_argument("--cpu", default="cortex-a76", help="the core: a target android-arm64:CPU and QEMU's model")
    parser.add_argument("--blocks", nargs="+", default=list(BLOCKS), choices=list(BLOCKS), help="BCR blocks")
    parser.add_argument("--units", nargs="*", default=list(UNITS), choices=list(UNITS), help="units pruned for int8")
    parser.add_argument("--sparsity", type=float, default=0.9, help="fraction of weights to remove")
    parser.add_argument("--without-litert", action="store_true", help="leave LiteRT out")
    parser.add_argument("--loops", type=int, default=0, metavar="N", help="also print the N hottest loops of each")
    parser.add_argument("--kept", type=Path, default=Path(".cache/benchmarks"), metavar="DIR", help="LiteRT's model")
    parser.add_argument("--peers", type=Path, default=environments_folder(), metavar="DIR", help="their environments")
    parser.add_argument("--json", action="store_true", help="print JSON on standard output")
    return parser.parse_args(arguments)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def secateur_row(block: str, dense: "torch.nn.Module", inputs: "dict[str, torch.Tensor]", options: Any) -> Row:
    """The layer pruned in BCR blocks and compiled by Secateur."""
    name = f"Secateur, {options.sparsity:.0%} {BLOCKS[block]}"
    return _row(name, "bcr", block, {}, dense, inputs, options)


def int8_row(block: str, dense: "torch.nn.Module", inputs: "dict[str, torch.Tensor]", options: Any) -> Row:
    """The layer pruned in units, on bytes."""
    row = _row(f"Secateur, {options.sparsity:.0%} {block}, int8", UNITS[block], block, BYTES, dense, inputs, options)
    # A product of bytes is no multiply-add.
    return dataclasses.replace(row, fma_ratio=None)


def _row(
    name: str,
    scheme: str,
    block: str,
    numbers: dict[str, str],
    dense: "torch.nn.Module",
    inputs: "dict[str, torch.Tensor]",
    options: Any,
) -> Row:
    from secateur.compiler import compile_model
    from secateur.compiler.measure.instruction_cost import count_bundle

    from .models import pruned

    module = pruned(dense, scheme, block, options.sparsity)
    target, device = f"android-arm64:{options.cpu}", f"qemu:{options.cpu}"
    with ScratchFolder("arm") as scratch:
        path = Path(scratch) / "layer.bundle"
        compile_model(module, inputs, target=target, verify=False, cache=False, records=False, **numbers).save(path)
        cost = count_bundle(path, device, mca=True)
        error = _error(path, device, target, module, inputs)
    return Row(name, cost.kernels, cost.rest.instructions, cost.cycles, error, cost.fma_ratio, cost.loops)


def _error(path: Path, device: str, target: str, module: "torch.nn.Module", inputs: "dict[str, torch.Tensor]") -> float:
    import torch

    from secateur.runtime_targets.bundle import open_bundle
    from secateur.runtime_targets.devices import RemoteSession, open_device
    from secateur.runtime_targets.token_count import in_order

    from .peers.process import relative_l2

    with open_bundle(path, runnable=False) as bundle, open_device(device) as opened, torch.no_grad():
        arrays = in_order(bundle.manifest.function().inputs, {name: tensor.numpy() for name, tensor in inputs.items()})
        found = RemoteSession(opened, bundle, target).run(arrays)
        return relative_l2(found, [module(**inputs).last_hidden_state.numpy()])


def stock_row(dense: "torch.nn.Module", inputs: "dict[str, torch.Tensor]", options: Any) -> Row:
    """The dense layer compiled by stock IREE with data tiling and microkernels."""
    from secateur.compiler.measure.baselines import compile_stock
    from secateur.compiler.measure.instruction_cost import count_module
    from secateur.runtime_targets import iree
    from secateur.runtime_targets.targets import get_target
    from secateur.runtime_targets.token_count import in_order

    code, parameters, specs = compile_stock(dense, inputs, get_target(f"android-arm64:{options.cpu}", workers=1))
    with ScratchFolder("arm") as scratch:
        module, archive = Path(scratch) / "model.vmfb", Path(scratch) / "weights.irpa"
        module.write_bytes(code)
        iree.write_parameters(archive, parameters)
        arrays = in_order(specs, {name: tensor.numpy() for name, tensor in inputs.items()})
        cost = count_module(module, archive, arrays, f"qemu:{options.cpu}", mca=True)
    return Row(STOCK, cost.kernels, cost.rest.instructions, cost.cycles, None, None, cost.loops)


def litert_row(name: str, peer: Peer, dense: "torch.nn.Module", inputs: "dict[str, torch.Tensor]", options: Any) -> Row:
    """The dense layer in LiteRT with XNNPACK. Raises `PeerError` where it cannot be run here."""
    from .workshop import Workshop

    shop = Workshop(options.kept, options.peers, say)
    try:
        folder = shop.for_peer("LiteRT's model", peer, dense, inputs).model
    finally:
        shop.close()
    executed, error = count_litert(folder, peer, options.peers, say)
    kernels = executed.where(lambda image: image.endswith(LIBRARY))
    rest = executed.where(lambda image: not image.endswith(LIBRARY)).counts().instructions
    return Row(name, kernels.counts(), rest, cycle_estimates(kernels).cycles, error)


def bars(rows: dict[str, Row], first: Row) -> list[tuple[str, float, str, bool]]:
    """What is compared, the figure, the bar in words, and whether it is met."""
    found: list[tuple[str, float, str, bool]] = []

    def at_least(what: str, dense: float, sparse: float, bar: float) -> None:
        found.append((what, dense / sparse, f"at least {bar:g}", dense / sparse >= bar))

    kernels = first.kernels
    if STOCK in rows:
        stock = rows[STOCK].kernels
        at_least("instructions, stock IREE / Secateur", stock.instructions, kernels.instructions, 6)
        at_least("loads, stock IREE / Secateur", stock.loads, kernels.loads, 6)
    if LITERT in rows:
        whole = [row.kernels.instructions + row.rest_instructions for row in (rows[LITERT], first)]
        at_least("instructions of the whole process, LiteRT / Secateur", whole[0], whole[1], 5)
    on_bytes = [row for name, row in rows.items() if name.startswith("Secateur") and name.endswith("int8")]
    if LITERT_INT8 in rows and on_bytes:
        best = min(on_bytes, key=lambda row: row.kernels.instructions)
        whole = [row.kernels.instructions + row.rest_instructions for row in (rows[LITERT_INT8], best)]
        at_least(f"instructions of the whole process, LiteRT int8 / {best.name}", whole[0], whole[1], 3.5)
    if first.fma_ratio is not None:
        near = abs(first.fma_ratio - 1) <= 0.1
        found.append(("multiply-adds / (kept operations / 8)", first.fma_ratio, "0.9 to 1.1", near))
    return found


def show(console: "Console", rows: list[Row], judged: list[tuple[str, float, str, bool]], loops: int) -> None:
    from secateur.compiler.measure.tables import table

    columns = (
        "one inference, counts", "instructions", "loads", "stores", "multiply-adds", "loaded, MB", "rest",
        "cycles by llvm-mca", "FMA / needed", "L2 from PyTorch",
    )  # fmt: skip
    lines = []
    for row in rows:
        counts = row.kernels
        values = (counts.instructions, counts.loads, counts.stores, counts.fmas)
        lines.append(
            [
                row.name,
                *(f"{value / 1e6:.2f} M" for value in values),
                f"{counts.loaded_bytes / 1e6:.1f}",
                f"{row.rest_instructions / 1e6:.2f} M",
                f"{row.cycles / 1e6:.1f} M" if row.cycles else "",
                f"{row.fma_ratio:.3f}" if row.fma_ratio else "",
                f"{row.relative_l2:.0e}" if row.relative_l2 else "",
            ]
        )
    console.print(table(columns, lines))
    console.print("rest: instructions outside of kernels (IREE's runtime; for LiteRT all but its library)")
    console.print("counts are exact and cycles an estimate; neither is a time")
    verdicts = [(what, f"{value:.2f}", bar, "met" if met else "NOT met") for what, value, bar, met in judged]
    console.print(table(("compared", "measured", "bar", "verdict"), verdicts))
    for row in rows:
        for number, loop in enumerate(row.loops[:loops]):
            console.print(f"\n{row.name}, loop {number + 1}: {loop.runs} runs, {loop.fraction:.1%} of instructions, "
                          f"{loop.cycles or 0:.1f} cycles a run; {loop.counts}", highlight=False)  # fmt: skip
            console.print("  " + "\n  ".join(loop.text), highlight=False, markup=False)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    import torch
    from rich.console import Console

    dense = encoder_layer()
    inputs = {"hidden_states": torch.randn(1, TOKENS, 768, generator=torch.Generator().manual_seed(0))}
    steps: dict[str, Callable[[], Row]] = {
        f"Secateur {block}": functools.partial(secateur_row, block, dense, inputs, options) for block in options.blocks
    }
    steps |= {
        f"Secateur {block}, int8": functools.partial(int8_row, block, dense, inputs, options) for block in options.units
    }
    steps[STOCK] = functools.partial(stock_row, dense, inputs, options)
    if not options.without_litert:
        peers = {LITERT: PEERS["LiteRT"], LITERT_INT8: ROUNDED["LiteRT int8"]}
        steps |= {
            name: functools.partial(litert_row, name, peer, dense, inputs, options) for name, peer in peers.items()
        }
    rows: list[Row] = []
    for name, step in steps.items():
        say(f"compiling and counting: {name}")
        try:
            rows.append(step())
        except PeerError as error:
            say(f"note: {name} did not take part: {error}")
    judged = bars({row.name: row for row in rows}, rows[0])
    if options.json:
        value = {"cpu": options.cpu, "rows": [dataclasses.asdict(row) for row in rows], "bars": judged}
        print(json.dumps(value, indent=2, default=lambda number: np.asarray(number).tolist()))
    else:
        show(Console(width=None if sys.stdout.isatty() else 180), rows, judged, options.loops)
    return 0 if all(met for *_, met in judged) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
