"""Prunes a trained model in many ways and measures what the compiled models still know, and how long they take.

    python -m secateur.benchmarks.accuracy --task squad --dense FOLDER --page docs/accuracy.md

Every point is made by `secateur prune`, compiled by `secateur compile` and scored by `secateur eval`; what is done
stays in the results file and is not done again. `--latency` times the compiled models in turns, beside the peers.
"""

import argparse
import datetime
import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Container
from pathlib import Path
from typing import Any

from .accuracy_points import POINTS, Point
from .peers.registry import environments_folder
from .results import Results, machine

DENSE = "dense"


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m secateur.benchmarks.accuracy",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--task", choices=list(POINTS), required=True)
    parser.add_argument("--dense", type=Path, metavar="DIR", required=True, help="the trained model, a folder")
    parser.add_argument("--only", default="", metavar="REGEX", help="points whose name matches")
    parser.add_argument("--latency", action="store_true", help="time what is compiled, in place of scoring more")
    parser.add_argument("--results", type=Path, default=Path(".cache/benchmarks/accuracy.jsonl"), metavar="FILE")
    parser.add_argument("--work", type=Path, default=Path(".cache/benchmarks/accuracy"), metavar="DIR",
                        help="folder of the pruned models")  # fmt: skip
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the page, and the chart beside it")
    parser.add_argument("--peers", type=Path, default=environments_folder(), metavar="DIR", help="their environments")
    return parser.parse_args(arguments)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    results = Results(options.results)
    wanted: dict[str, Point | None] = {DENSE: None, **{point.name: point for point in POINTS[options.task]}}
    wanted = {name: point for name, point in wanted.items() if re.search(options.only, name)}
    done = results.read()
    if options.latency:
        if f"{options.task} {DENSE}" not in done:
            say("--latency times what was scored, but the dense model was not: first the same command without it")
            return 1
        _append(results, f"latency {options.task}", time.monotonic(), _latencies(options, wanted, done))
    failed = False
    for name, point in wanted.items():
        if options.latency or f"{options.task} {name}" in done:
            continue
        began = time.monotonic()
        try:
            record = _score(options, name, point)
        except subprocess.CalledProcessError as error:
            # The other points are worth having all the same.
            failed = True
            say(f"{name}: failed: {error.stderr.strip().splitlines()[-1]}")
            continue
        _append(results, f"{options.task} {name}", began, record)
        say(f"{name}: {record['eval']['metrics']}")
    if options.page:
        from .accuracy_page import write_page

        write_page(options.page, options.results, options.peers)
        say(f"wrote {options.page}")
    return 1 if failed else 0


def _append(results: Results, name: str, began: float, record: dict[str, Any]) -> None:
    finished = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    line = {"measurement": name, "machine": machine(), "finished": finished, "seconds": time.monotonic() - began}
    results.append({**line, "record": record})


def _score(options: argparse.Namespace, name: str, point: Point | None) -> dict[str, Any]:
    """Prunes, compiles and scores; raises `CalledProcessError`. Folders that are there are used."""
    bundle = options.work / options.task / f"{name.replace(' ', '-')}.bundle"
    bundle.parent.mkdir(parents=True, exist_ok=True)
    seconds = None
    if point and not _made(options, point.pruned):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        _make(options, point.pruned)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    folder = _folder(options, point.pruned) if point else options.dense
    if not bundle.exists():
        say(f"{name}: compiling")
        numbers = ["--weights", "int8", "--arithmetic", "int8"] if point and point.numbers != "f32" else []
        _secateur("compile", str(folder), "-o", str(bundle), "--seq-len", "128", *numbers)
    say(f"{name}: scoring")
    limit = ["--limit", str(point.examples)] if point and point.examples else []
    found = _secateur("eval", str(bundle), "--task", options.task, *limit)
    return {
        "point": None if point is None else {**vars(point), "shape": point.shape},
        "zeros_fraction": _zeros(folder),
        "prune_cpu_seconds": seconds,
        "trainings": _trainings(options, point.pruned) if point else [],
        "eval": found,
    }


def _folder(options: argparse.Namespace, point: Point) -> Path:
    return options.work / options.task / point.name.replace(" ", "-")


def _made(options: argparse.Namespace, point: Point) -> bool:
    return (_folder(options, point) / "config.json").is_file()


def _make(options: argparse.Namespace, point: Point) -> None:
    """Prunes, behind the point that it goes on from."""
    if point.before and not _made(options, point.before):
        _make(options, point.before)
    say(f"{point.name}: pruning")
    start = _folder(options, point.before) if point.before else None
    _secateur(*point.command(options.dense, options.task, _folder(options, point), start))


def _trainings(options: argparse.Namespace, point: Point) -> list[dict[str, Any]]:
    """What each training behind a point wrote of itself, the first one first."""
    file = _folder(options, point) / "training.json"
    earlier = _trainings(options, point.before) if point.before else []
    return [*earlier, json.loads(file.read_text())] if point.steps else []


def _secateur(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [Path(sys.executable).with_name("secateur"), *arguments, "--json"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def _zeros(folder: Path) -> float:
    """The fraction of the weights of the encoder's linear layers that are zero."""
    import torch

    from secateur.compression.prune import parse_scheme, prunable_layers

    layers, _ = prunable_layers(_module(folder), parse_scheme("unstructured", None))
    weights: list[Any] = [layer.weight for layer in layers.values()]
    return 1 - sum(int(torch.count_nonzero(w)) for w in weights) / sum(w.numel() for w in weights)


def _module(folder: Path) -> Any:
    from secateur.frontends import load_model

    return load_model(folder).module


def _latencies(options: argparse.Namespace, wanted: dict[str, Point | None], done: Container[str]) -> dict[str, Any]:
    """What the chart shows, in turns with the peers: dense, and DeepSparse on the unstructured points."""
    from . import models
    from .measurements import run_contest
    from .peers.registry import PEERS
    from .workshop import Workshop

    shop = Workshop(options.results.parent, options.peers, say)
    inputs = models.bert_inputs()
    dense = _module(options.dense)
    bundles = options.work / options.task
    candidates = [
        shop.for_bundle("Secateur dense", bundles / f"{DENSE}.bundle", dense, inputs),
        shop.for_peer("LiteRT dense", PEERS["LiteRT"], dense, inputs),
        shop.for_peer("PyTorch dense", PEERS["PyTorch"], dense, inputs),
    ]
    for name, point in wanted.items():
        folder = bundles / name.replace(" ", "-")
        if point is None or not point.charted or f"{options.task} {name}" not in done:
            continue
        module = _module(folder)
        candidates.append(shop.for_bundle(name, folder.with_name(f"{folder.name}.bundle"), module, inputs))
        if point.scheme == "unstructured":
            candidates.append(shop.for_peer(f"DeepSparse {name}", PEERS["DeepSparse"], module, inputs))
    try:
        return run_contest(shop, candidates, 30)
    finally:
        shop.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
