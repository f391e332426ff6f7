"""Answers questions about a text with a pruned model, compiled, beside the dense one and beside PyTorch.

The trained encoders are packed files of this package; the embeddings come from the published MiniLM-L6.
Run: `python -m secateur.applications.question_answering.demo`; `--help` names what it takes from elsewhere.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.dialects.errors import SecateurError
from secateur.dialects.scratch import ScratchFolder

if TYPE_CHECKING:
    import numpy as np

    from .answer import LogitsOf, Reading
    from .model import QuestionModel

HERE = Path(__file__).resolve().parent
DENSE = HERE / "models" / "minilm-l6-squad-dense.safetensors"
PRUNED = HERE / "models" / "minilm-l6-squad-pruned.safetensors"
TEXT = HERE / "texts" / "apollo-11.txt"
QUESTIONS = (
    "Which ship picked up the crew?",
    "How tall was the rocket?",
    "What did Aldrin push the circuit breaker in with?",
    "How much rock and soil did they collect?",
    "What does the mirror reflect?",
    "When was the launch?",
)
AGREEMENT = 1e-4
INT8 = "int8"
_BYTES = {"weights": INT8, "arithmetic": INT8}
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


class DemoError(SecateurError):
    """The demo cannot run, or its own check failed; the text says why."""


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, metavar="DIR", help="the folder of MiniLM-L6 (default: downloaded)")
    parser.add_argument(
        "--dense", type=Path, metavar="FILE", default=DENSE, help="packed checkpoint of the dense model"
    )
    parser.add_argument(
        "--pruned", type=Path, metavar="FILE", default=PRUNED, help="packed checkpoint of the pruned one"
    )
    parser.add_argument("--context", type=Path, metavar="FILE", default=TEXT, help="the text")
    parser.add_argument("--question", action="append", metavar="TEXT", help="a question (may be repeated)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the models and bundles in this folder")
    parser.add_argument("--threads", type=int, default=1, help="threads of every candidate")
    parser.add_argument("--tokens", type=int, default=128, help="tokens of a window")
    parser.add_argument("--rounds", type=int, default=40, help="interleaved rounds of the latencies")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    # Before torch is imported: its thread pools read this once.
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    from secateur.compiler.errors import CompileError
    from secateur.tasks.downloads import DownloadError

    from .errors import AnswerError
    from .packed_checkpoint import PackedError

    try:
        with ScratchFolder("demo") as scratch:
            folder = options.keep or Path(scratch)
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise DemoError(f"'{folder}' holds files; name a new folder with --keep")
            show(options, folder)
    except (DemoError, DownloadError, CompileError, AnswerError, PackedError, OSError, UnicodeDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def show(options: argparse.Namespace, folder: Path) -> None:
    """Does everything and prints it. Raises `DemoError` where compiled and PyTorch disagree."""
    import torch
    from rich.console import Console
    from transformers.utils import logging

    from secateur.tasks.downloads import fetch_minilm

    from .model import QuestionModel
    from .packed_checkpoint import read_note

    torch.set_num_threads(options.threads)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    console = Console(width=110)
    for file in (options.dense, options.pruned):
        if not file.is_file():
            raise DemoError(f"there is no packed checkpoint '{file}'")
    base = options.base or fetch_minilm(instead="make demo MODEL=DIR", progress=stage)
    models: dict[str, QuestionModel] = {}
    candidates: dict[str, Any] = {}
    bundles: dict[str, Path] = {}
    for name in ("dense", "pruned"):
        module = unpacked(getattr(options, name), base, folder / name)
        candidates[f"PyTorch, {name}"] = TorchLogits(module)
        for kind, numbers in {name: {}, f"{name}, {INT8}": _BYTES}.items():
            bundles[f"Secateur, {kind}"] = compiled(folder / name, numbers, options)
            models[kind] = QuestionModel(bundles[f"Secateur, {kind}"])
            candidates[f"Secateur, {kind}"] = models[kind].session(options.threads)
    context = options.context.read_text(encoding="utf-8")
    console.print(f"{options.context.name}: {len(context.split())} words", highlight=False)
    for name in ("dense", "pruned"):
        note = read_note(getattr(options, name))
        zeros = f"{models[name].sparsity_fraction:.0%} of the weights of its linear layers are zero"
        console.print(f"{name}: {zeros}{'; ' if note else ''}{note}", highlight=False, markup=False)
    print_answers(console, candidates, models["dense"], context, options.question or list(QUESTIONS))
    print_latencies(console, candidates, bundles, models["dense"], context, options)
    if options.keep:
        ask = f"{folder}/pruned-{INT8}.bundle"
        serve = f"{ask} --compare {folder}/dense.bundle"
        console.print(f'\nsecateur qa {ask} --context FILE --question "..."\nsecateur serve {serve}', highlight=False)


def unpacked(packed: Path, base: Path, folder: Path) -> Any:
    """The PyTorch module of a packed checkpoint, which is written to `folder` with its tokenizer."""
    from .packed_checkpoint import load_packed

    stage(f"unpacking the {folder.name} model ...")
    module: Any = load_packed(packed, base)
    module.save_pretrained(folder)
    for name in _TOKENIZER_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    return module


def compiled(folder: Path, numbers: dict[str, str], options: argparse.Namespace) -> Path:
    """The bundle of the model in `folder`, beside it: in f32, or with the weights and arithmetic of `numbers`."""
    from secateur.compiler import compile_model

    kind = f"-{INT8}" if numbers else ""
    stage(f"compiling the {folder.name} model{f' in {INT8}' if numbers else ''} ...")
    bundle = folder.with_name(f"{folder.name}{kind}.bundle")
    compile_model(folder, seq_len=options.tokens, threads=options.threads, **numbers).save(bundle)
    return bundle


class TorchLogits:
    """PyTorch, called as the session of a bundle is."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __call__(self, arrays: "dict[str, np.ndarray]") -> "tuple[np.ndarray, np.ndarray]":
        """Start and end logits, [tokens]."""
        import torch

        with torch.inference_mode():
            found = self._module(**{name: torch.from_numpy(array) for name, array in arrays.items()})
        return found.start_logits[0].numpy(), found.end_logits[0].numpy()


def print_answers(
    console: Any, candidates: "dict[str, LogitsOf]", model: "QuestionModel", context: str, questions: list[str]
) -> None:
    """The best answer of every candidate. Raises `DemoError` where the same weights answer otherwise in PyTorch."""
    from secateur.compiler.measure.tables import table

    from .answer import read_in_turns
    from .windows import Windows

    stage("answering ...")
    rows, same = [], 0
    columns = ("PyTorch, dense", "Secateur, dense", "Secateur, pruned", f"Secateur, pruned, {INT8}")
    for question in questions:
        readings = read_in_turns(model, list(candidates.values()), context, question)
        found = dict(zip(candidates, map(best, readings), strict=True))
        rows.append((question, *(found[column] for column in columns)))
        same += found[columns[-1]] == found["Secateur, pruned"]
        for name in ("dense", "pruned"):
            ours, theirs = found[f"Secateur, {name}"], found[f"PyTorch, {name}"]
            if ours != theirs:
                raise DemoError(f"the {name} model answers '{question}' with '{ours}', and in PyTorch with '{theirs}'")
    console.print()
    answers = table(("question", *columns), rows)
    for column in answers.columns:
        column.justify, column.no_wrap = "left", False
    console.print(answers)
    windows = Windows(model, questions[0], context)
    apart = {
        name: max(
            difference(candidates[f"Secateur, {name}"], candidates[f"PyTorch, {name}"], windows[i].arrays)
            for i in range(len(windows))
        )
        for name in ("dense", "pruned")
    }
    if not max(apart.values()) <= AGREEMENT:
        raise DemoError(f"compiled and PyTorch logits differ by {max(apart.values()):.2e}, accepted is {AGREEMENT:.0e}")
    console.print(
        f"\nOn the same weights, compiled and PyTorch give the same answers to all questions; their logits differ by "
        f"{apart['dense']:.1e} (dense) and {apart['pruned']:.1e} (pruned; relative L2, accepted {AGREEMENT:.0e}).\n"
        f"In {INT8}, whose weights and activations are rounded, the pruned model gives {same} of {len(questions)} "
        "answers as in f32.\n"
    )


def difference(ours: "LogitsOf", theirs: "LogitsOf", arrays: "dict[str, np.ndarray]") -> float:
    """Relative L2 distance of the logits of a window."""
    import numpy as np

    found, expected = np.concatenate(ours(arrays)), np.concatenate(theirs(arrays))
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def best(reading: "Reading") -> str:
    """The best answer on one line."""
    return " ".join(reading.answers[0].text.split()) if reading.answers else "-"


def print_latencies(
    console: Any,
    candidates: "dict[str, LogitsOf]",
    bundles: dict[str, Path],
    model: "QuestionModel",
    context: str,
    options: argparse.Namespace,
) -> None:
    """Times all candidates in turns on the first window of the text, and tells the bytes of `bundles`."""
    from secateur.compiler.measure.tables import table
    from secateur.compiler.measure.timing import interleave, ratio

    from .windows import Windows

    stage("timing ...")
    arrays = Windows(model, QUESTIONS[0], context)[0].arrays
    latencies = interleave(
        {name: lambda logits=logits: logits(arrays) for name, logits in candidates.items()},
        rounds=options.rounds,
        budget_seconds=20.0,
    )
    torch_dense, ours = latencies["PyTorch, dense"], latencies[f"Secateur, pruned, {INT8}"]
    rows = [
        (name, *(f"{ms:.1f}" for ms in (latency.min_ms, latency.p25_ms, latency.median_ms)),
         f"{ratio(torch_dense, latency):.2f}x", megabytes(bundles.get(name)))
        for name, latency in latencies.items()
    ]  # fmt: skip
    columns = ("latency of a window, ms", "min", "p25", "median", "vs PyTorch, dense", "bundle, MB")
    title = f"{model.tokens} tokens, batch 1, {options.threads} thread(s), {ours.runs} interleaved runs"
    console.print(table(columns, rows, title=title))
    faster = [f"{ratio(latencies[f'Secateur, {kind}'], ours):.2f}" for kind in ("dense", f"dense, {INT8}")]
    console.print(
        f"\nThe pruned model in {INT8}, compiled, is [bold]{ratio(torch_dense, ours):.2f} times faster than "
        f"PyTorch[/bold] with the dense one, and {faster[0]} and {faster[1]} times faster than the dense one, "
        f"compiled in f32 and in {INT8}."
    )


def megabytes(folder: Path | None) -> str:
    """The size of the files in `folder`."""
    if folder is None:
        return "-"
    return f"{sum(file.stat().st_size for file in folder.rglob('*') if file.is_file()) / 1e6:.0f}"


def stage(text: str) -> None:
    """Says what is being done, on standard error."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
