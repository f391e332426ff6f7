"""Prunes, compiles and runs MiniLM-L6, a BERT that embeds sentences, beside PyTorch and stock IREE.

Quality is shown at a sparsity that pruning without training survives, latency at that one and at 90 %.
Run: `make demo`, or `make demo MODEL=DIR` for a local Hugging Face folder of a sentence-embedding encoder.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

PARAPHRASE = ("How do I reset my password?", "I forgot my password, how can I change it?")
UNRELATED = (PARAPHRASE[0], "The recipe needs two cups of flour.")
AGREEMENT = 1e-4

Arrays = "dict[str, np.ndarray]"
Encode = Callable[[Arrays], "np.ndarray"]


class DemoError(Exception):
    """The demo's own check failed; the text holds the figures."""


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a local Hugging Face folder with a tokenizer")
    parser.add_argument("--block", default="4x16", help="BCR block, rows x columns")
    parser.add_argument("--survivable", type=float, default=0.3, help="sparsity at which quality is shown")
    parser.add_argument("--high", type=float, default=0.9, help="sparsity at which only latency is shown")
    parser.add_argument("--tokens", type=int, default=128, help="sequence length of the latencies")
    parser.add_argument("--threads", type=int, default=1, help="threads of every candidate")
    parser.add_argument("--rounds", type=int, default=30, help="interleaved rounds")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    # Before torch is imported: its thread pools read this once.
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from secateur.compiler.downloads import DownloadError, fetch_minilm
    from secateur.compiler.errors import CompileError

    try:
        show(options, options.model or fetch_minilm(instead="a local Hugging Face folder: make demo MODEL=DIR"))
    except (DownloadError, DemoError, CompileError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def show(options: argparse.Namespace, folder: Path) -> None:
    """Does everything and prints it. Raises `DemoError` where compiled and PyTorch disagree."""
    import torch
    from rich.console import Console
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    from secateur.compiler import compile_model
    from secateur.compiler.prune import parse_scheme, prune_model

    logging.disable_progress_bar()
    console = Console(width=110)

    def stage(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    tokenizer = AutoTokenizer.from_pretrained(folder)
    dense = AutoModel.from_pretrained(folder).eval()
    example = tokenize(tokenizer, "example", options.tokens)
    torch_example = {name: torch.from_numpy(array) for name, array in example.items()}

    compiled, pruned = {}, {}
    for sparsity in (options.survivable, options.high):
        stage(f"pruning to {sparsity:.0%} and compiling ...")
        pruned[sparsity] = prune_model(dense, parse_scheme("bcr", options.block), sparsity)[0]
        compiled[sparsity] = compile_model(pruned[sparsity], torch_example, threads=options.threads)

    encoders: dict[str, Encode] = {
        "PyTorch, dense": torch_encoder(dense),
        f"PyTorch, {options.survivable:.0%} pruned": torch_encoder(pruned[options.survivable]),
        f"compiled, {options.survivable:.0%} pruned": compiled_encoder(compiled[options.survivable]),
    }
    cosines = {
        name: [cosine(encode, tokenizer, pair) for pair in (PARAPHRASE, UNRELATED)] for name, encode in encoders.items()
    }
    print_cosines(console, cosines)
    _, reference, ours = cosines.values()
    apart = max(abs(a - b) for a, b in zip(reference, ours, strict=True))
    if not apart <= AGREEMENT:
        raise DemoError(f"compiled and PyTorch cosines differ by {apart:.2e}, accepted is {AGREEMENT:.0e}")
    console.print(
        f"Compiled and PyTorch differ by {apart:.1e} on the same pruned weights (accepted {AGREEMENT:.0e}).\n"
    )

    print_layers(console, {s: model.report for s, model in compiled.items()})
    print_latencies(console, options, dense, compiled, example, stage)
    console.print(
        f"At {options.high:.0%} only the latency means something: weights were cut once, by magnitude. "
        "Accuracy at high sparsity needs training."
    )


def tokenize(tokenizer: Any, sentence: str, pad_to: int | None = None) -> Arrays:
    """Token ids and attention mask of one sentence, as int64 [1, tokens]; padded where `pad_to` is given."""
    import numpy as np

    length = {"padding": "max_length", "max_length": pad_to} if pad_to else {}
    encoded = tokenizer(sentence, return_tensors="np", truncation=bool(pad_to), **length)
    return {name: encoded[name].astype(np.int64) for name in ("input_ids", "attention_mask")}


def torch_encoder(model: Any) -> Encode:
    """The last hidden state by PyTorch, [1, tokens, features]."""
    import torch

    def encode(arrays: Arrays) -> "np.ndarray":
        with torch.inference_mode():
            return model(**{name: torch.from_numpy(a) for name, a in arrays.items()}).last_hidden_state.numpy()

    return encode


def compiled_encoder(model: Any) -> Encode:
    """The last hidden state by a compiled model, [1, tokens, features]."""
    return lambda arrays: next(iter(model.run(arrays).values()))


def cosine(encode: Encode, tokenizer: Any, pair: tuple[str, str]) -> float:
    """Cosine similarity of two sentences, each the mean of its tokens' states."""
    import numpy as np

    first, second = (encode(tokenize(tokenizer, sentence))[0].mean(axis=0) for sentence in pair)
    return float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))


def print_cosines(console: Any, cosines: dict[str, list[float]]) -> None:
    """Similarity of the two pairs by every model."""
    from secateur.compiler.cli.output import table

    console.print(f"paraphrase: {PARAPHRASE[0]} / {PARAPHRASE[1]}", highlight=False)
    console.print(f"unrelated:  {UNRELATED[0]} / {UNRELATED[1]}\n", highlight=False)
    rows = [(name, f"{values[0]:.5f}", f"{values[1]:.5f}") for name, values in cosines.items()]
    console.print(table(("cosine similarity", "paraphrase", "unrelated"), rows))


def print_layers(console: Any, reports: dict[float, Any]) -> None:
    """Sparsity and encoding that the compiler found in every layer, at each sparsity asked for."""
    from secateur.compiler.cli.output import percent, table

    columns = ["layer", "shape"]
    for sparsity in reports:
        columns += [f"zeros at {sparsity:.0%}", "encoding"]
    rows = []
    for layers in zip(*(report.layers for report in reports.values()), strict=True):
        row = [layers[0].name, f"{layers[0].rows} x {layers[0].columns}"]
        for layer in layers:
            row += [percent(layer.sparsity_fraction), layer.encoding]
        rows.append(row)
    console.print(table(columns, rows))
    console.print()


def print_latencies(
    console: Any, options: argparse.Namespace, dense: Any, compiled: dict[float, Any], arrays: Arrays, stage: Any
) -> None:
    """Times PyTorch, stock IREE and the compiled models in turns."""
    import torch

    from secateur.compiler.baselines import stock_iree, torch_eager
    from secateur.compiler.cli.output import table
    from secateur.compiler.timing import interleave, ratio

    stage("compiling the dense model with stock IREE ...")
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    stock = stock_iree(dense, tensors, options.threads)
    eager = torch_eager(dense, options.threads)
    candidates: dict[str, Callable[[], object]] = {
        "PyTorch, dense": lambda: eager(arrays),
        "stock IREE, dense": lambda: stock(arrays),
    }
    for sparsity, model in compiled.items():
        label = "survives one-shot pruning" if sparsity == options.survivable else "needs training"
        candidates[f"Secateur, {sparsity:.0%} ({label})"] = lambda model=model: model.run(arrays)
    stage("timing ...")
    latencies = interleave(candidates, rounds=options.rounds)
    torch_latency, stock_latency, *_ = latencies.values()
    rows = [
        (name, *(f"{ms:.1f}" for ms in (latency.min_ms, latency.p25_ms, latency.median_ms)),
         f"{ratio(torch_latency, latency):.2f}x", f"{ratio(stock_latency, latency):.2f}x")
        for name, latency in latencies.items()
    ]  # fmt: skip
    columns = ("latency, ms", "min", "p25", "median", "vs PyTorch", "vs stock IREE")
    title = (
        f"{options.tokens} tokens, batch 1, fp32, {options.threads} thread(s), {torch_latency.runs} interleaved runs"
    )
    console.print(table(columns, rows, title=title))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
