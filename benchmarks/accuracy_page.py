"""docs/accuracy.md, its charts and its data, from the lines of a results file."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .accuracy_points import SPARSITIES
from .report import ENTRY_COLUMNS, entry_rows, machine_line, markdown_table, notes
from .results import Results

Line = Mapping[str, Any]

TITLES = {"squad": "Question answering: SQuAD v1.1", "sentiment": "Sentiment: movie reviews"}
METRICS = {"squad": "f1", "sentiment": "accuracy"}
HOW = """The model is MiniLM-L6 (6 layers, hidden size 384), fine-tuned for the task; every linear \
layer of its encoder is pruned. What scores is the **compiled bundle**, on one thread of this machine's CPU, on the \
dev split with windows of 128 tokens. "No training" means second-order pruning from 256 unlabelled inputs, with rates \
by layer (`--rates loss`) unless said otherwise. Seeds are 0, and 1 where a trained model \
trains on; the training data, windows and order are those of `secateur prune`.

```sh
make demo KEEP=demo    # leaves the dense model in demo/dense
python -m secateur.benchmarks.accuracy --task squad --dense demo/dense              # prunes, trains, compiles, scores
python -m secateur.benchmarks.accuracy --task squad --dense demo/dense --latency    # times all of them, and the peers
```

The dense model for sentiment, which goes through the same two commands, is a MiniLM-L6 that was trained for it:

```sh
MINILM=$(python -c "from secateur.tasks.downloads import fetch_minilm; print(fetch_minilm())")
secateur finetune "$MINILM" --task sentiment --epochs 3 --learning-rate 1e-4 -o sentiment-dense
```

Given again, a command takes up what is done; `--only REGEX` names points, `--page` writes this page. Every \
figure of it, and more (rates of every layer, versions, times), is in [{data}]({data}), a line of JSON a measurement."""

BYTES = """Compiled with `--weights int8 --arithmetic int8`; otherwise as above. `tile` removes units as a whole, \
`bcr` columns of bands of rows. The last column is of models whose weights `secateur prune` rounded while it pruned."""


def write_page(page: Path, results: Path, peers: Path) -> None:
    """Writes the page, the newest line of every measurement beside it, and, where the peers' environment has
    matplotlib, a chart for each task that was timed."""
    lines = Results(results).read()
    page.parent.mkdir(parents=True, exist_ok=True)
    data = page.with_suffix(".jsonl")
    data.write_text("".join(json.dumps(without_history(line)) + "\n" for line in lines.values()))
    parts = ["# Accuracy", "<!-- Written by `python -m secateur.benchmarks.accuracy`; do not edit. -->"]
    parts.append(HOW.format(data=data.name))
    for task, title in TITLES.items():
        scored = {name.removeprefix(f"{task} "): line for name, line in lines.items() if name.startswith(f"{task} ")}
        if "dense" not in scored:
            continue
        timed = lines.get(f"latency {task}")
        picture = page.with_name(f"{page.stem}-{task}.png")
        python = peers / "main" / "bin" / "python"
        if timed and python.exists():
            command = [python, "-P", Path(__file__).with_name("accuracy_chart.py"), results, task, picture]
            subprocess.run([str(part) for part in command], check=True, stdout=sys.stderr)
        parts += [f"## {title}", f"Measured on {machine_line((timed or scored['dense'])['machine'])}."]
        parts += [f"![{METRICS[task]} against latency]({picture.name})"] if timed and picture.exists() else []
        parts += task_tables(METRICS[task], scored, timed)
    page.write_text("\n\n".join(parts) + "\n")


def numbers_of(record: Any) -> str:
    """What the model of a point was compiled to."""
    return record["point"].get("numbers", "f32")


def bytes_rows(metric: str, points: Sequence[Any]) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Models that were compiled to bytes too, in f32 and in bytes."""
    found: dict[tuple[str, str, int], dict[str, str]] = {}
    for p in points:
        key = (p["point"]["shape"], f"{p['point']['sparsity']:.0%}", p["point"]["steps"])
        usual = (p["point"]["method"], p["point"]["rates"]) == ("second-order", "loss")
        if usual and not p["point"].get("more_steps"):
            found.setdefault(key, {})[numbers_of(p)] = f"{p['eval']['metrics'][metric]:.1f}"
    rows = [
        (shape, sparsity, str(steps or "none"), *(scores.get(n, "-") for n in ("f32", "int8", "int8 solved")))
        for (shape, sparsity, steps), scores in sorted(found.items(), key=lambda item: (item[0][2], item[0][1]))
        if set(scores) - {"f32"}
    ]
    return ("unit", "sparsity", "steps of training", "f32", "int8", "int8, `prune --weights int8`"), rows


def without_history(line: Line) -> Line:
    """The line without the logs of trainings, which are longer than all the rest."""
    trainings = line["record"].get("trainings")
    if not trainings:
        return line
    kept = [{key: value for key, value in training.items() if key != "history"} for training in trainings]
    return {**line, "record": {**line["record"], "trainings": kept}}


def task_tables(metric: str, scored: Mapping[str, Line], timed: Line | None) -> list[str]:
    """The tables of a task: what was trained, what was not, and latencies."""
    dense = scored["dense"]["record"]
    points = [line["record"] for name, line in scored.items() if name != "dense"]
    parts = ["### Trained", markdown_table(*trained_rows(metric, dense, points))]
    plain = [p for p in points if not p["point"]["steps"] and numbers_of(p) == "f32"]
    usual = [p for p in plain if (p["point"]["method"], p["point"]["rates"]) == ("second-order", "loss")]
    if usual:
        parts += ["### No training", sample_sentence(usual), markdown_table(*grid_rows(metric, usual))]
    others = [p for p in plain if p not in usual]
    if others:
        parts += ["Other ways, without training:", markdown_table(*way_rows(metric, others, usual))]
    if any(numbers_of(p) != "f32" for p in points):
        parts += ["### On bytes", BYTES, markdown_table(*bytes_rows(metric, points))]
    if timed:
        record = timed["record"]
        # Scores are in the tables above.
        header, rows = ("", *ENTRY_COLUMNS[:-1]), [row[:-1] for row in entry_rows(record)]
        parts += ["### Latency", f"Batch 1, 128 tokens, one thread, in turns; finished {timed['finished']}."]
        parts += [markdown_table(header, rows), *(f"- {note}" for note in notes(record))]
    return parts


def trained_rows(metric: str, dense: Any, points: Sequence[Any]) -> tuple[Sequence[str], list[Sequence[str]]]:
    """The dense model and every point that was trained, with its budget; what is lost, where both were scored alike."""
    names = list(dense["eval"]["metrics"])
    header = ("model", "zeros", *names, f"{metric} lost", "examples", "training behind the pruning")
    trained = [p for p in points if p["point"]["steps"]]
    trained.sort(key=lambda p: (-p["eval"]["examples"], p["point"]["sparsity"], -p["eval"]["metrics"][metric]))
    rows: list[Sequence[str]] = []
    for record in [dense, *trained]:
        found, point = record["eval"], record["point"]
        shown = "dense" if point is None else f"{point['shape']}, {point['method']}, rates: {point['rates']}"
        shown += f", {numbers_of(record)}" if point and numbers_of(record) != "f32" else ""
        scores = [f"{found['metrics'][name]:.2f}" for name in names]
        alike = point is not None and found["examples"] == dense["eval"]["examples"]
        lost = f"{dense['eval']['metrics'][metric] - found['metrics'][metric]:.2f}" if alike else "-"
        budget = "; then ".join(map(budget_text, record["trainings"])) or "-"
        rows.append((shown, f"{record['zeros_fraction']:.1%}", *scores, lost, str(found["examples"]), budget))
    return header, rows


def budget_text(training: Any) -> str:
    """Steps, highest learning rate, epochs, tokens and minutes of a training."""
    return (
        f"{training['steps']} steps at {training['job']['learning_rate']:.0e} = {training['epochs']:.2f} epochs, "
        f"{training['tokens'] / 1e6:.1f} M tokens, "
        f"{training['minutes']:.0f} min on {training['machine']['threads']} thread(s)"
    )


def sample_sentence(points: Sequence[Any]) -> str:
    """On how many examples the points were scored, and how long pruning took."""
    examples = sorted({p["eval"]["examples"] for p in points})
    seconds = [p["prune_cpu_seconds"] for p in points if p["prune_cpu_seconds"]]
    took = f" Pruning took {min(seconds):.0f} to {max(seconds):.0f} s of processor time a model." if seconds else ""
    return f"Scored on {' or '.join(map(str, examples))} examples, spread evenly over the dev split.{took}"


def grid_rows(metric: str, points: Sequence[Any]) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Schemes by sparsities."""
    found = {(p["point"]["shape"], p["point"]["sparsity"]): p["eval"]["metrics"][metric] for p in points}
    shapes = list(dict.fromkeys(shape for shape, _ in found))
    rows = [
        (shape, *(f"{found[shape, s]:.1f}" if (shape, s) in found else "-" for s in SPARSITIES)) for shape in shapes
    ]
    return (f"{metric} at", *(f"{s:.0%}" for s in SPARSITIES)), rows


def way_rows(metric: str, others: Sequence[Any], usual: Sequence[Any]) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Methods and rates, and the usual ones at the same scheme and sparsity."""
    kinds = {(p["point"]["shape"], p["point"]["sparsity"]) for p in others}
    rows = []
    for p in [*others, *(u for u in usual if (u["point"]["shape"], u["point"]["sparsity"]) in kinds)]:
        point, value = p["point"], p["eval"]["metrics"][metric]
        rows.append((point["shape"], f"{point['sparsity']:.0%}", point["method"], point["rates"], f"{value:.1f}"))
    return ("scheme", "sparsity", "method", "rates", metric), rows
