"""Predicts the latency of random candidates of a search, then compiles and times each as a whole model.

    python -m secateur.benchmarks.search_latency FOLDER --task squad --space architecture,compression

Prints both and the errors of the predictions. Every candidate that is done is a line of the results file, and what was
measured of layers is on record: the same command goes on where it was stopped. Run it on a machine with nothing else to
do.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from secateur.compression.search.latency import LatencyPredictor
from secateur.compression.search.space import Space, candidate_line
from secateur.compression.search.spaces import space_named
from secateur.compression.search.spaces.building import plan_for
from secateur.compression.train.task_model import load_task_model
from secateur.tasks import get_task

from .results import Results, machine

MEDIAN, WORST = 0.05, 0.12


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m secateur.benchmarks.search_latency",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="FOLDER", help="the dense model")
    parser.add_argument("--task", default="squad", help="whose head the model has")
    parser.add_argument("--space", default="architecture,compression", metavar="NAMES")
    parser.add_argument("--candidates", type=int, default=20, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", default="host-cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path(".cache/benchmarks/search-latency.jsonl"), metavar="FILE")
    parser.add_argument("--records", type=Path, metavar="DIR", help="of layers; by default those that a search uses")
    return parser.parse_args(arguments)


def drawn(space: Space, count: int, seed: int) -> list[dict[str, Any]]:
    """`count` different candidates."""
    generator = np.random.default_rng(seed)
    found: dict[str, dict[str, Any]] = {}
    while len(found) < min(count, space.size):
        candidate = space.sample(generator)
        found.setdefault(candidate_line(candidate), candidate)
    return list(found.values())


def errors(records: list[dict[str, float]]) -> list[float]:
    """How far each prediction is off, as a fraction of what was measured."""
    return [abs(record["predicted_ms"] / record["measured_ms"] - 1) for record in records]


def main(arguments: list[str]) -> int:
    options = parse(arguments)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    module, _ = load_task_model(options.model, get_task(options.task))
    space = space_named(options.space, module)
    candidates = drawn(space, options.candidates, options.seed)
    predictor = LatencyPredictor(
        module, target=options.target, threads=options.threads, cache=options.records, progress=say
    )
    results = Results(options.results)
    done = results.read()
    began = time.monotonic()
    predictor.measure_cells([plan_for(candidate, module) for candidate in candidates])
    say(f"layers measured in {time.monotonic() - began:.0f} s")
    found = []
    for number, candidate in enumerate(candidates):
        name = f"search-latency {options.target} {options.threads} {options.model} {candidate_line(candidate)}"
        if name not in done:
            predicted = predictor.predict(candidate).ratio
            timed = predictor.time_whole(predictor.compiled(candidate))
            # In one moment's milliseconds.
            whole = timed.cost / timed.ratio
            record = {"predicted_ms": predicted * whole, "measured_ms": timed.cost}
            results.append({"measurement": name, "machine": machine(), "finished": time.time(), "record": record})
            done[name] = {"record": record}
        found.append(done[name]["record"])
        one, other = found[-1]["predicted_ms"], found[-1]["measured_ms"]
        print(f"{number + 1:3}  {one:8.3f} ms predicted  {other:8.3f} ms measured  {one / other - 1:+.1%}", flush=True)
    middle, worst = statistics.median(errors(found)), max(errors(found))
    print(f"error: median {middle:.1%} (bar {MEDIAN:.0%}), worst {worst:.1%} (bar {WORST:.0%})")
    return 0 if middle <= MEDIAN and worst <= WORST else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
