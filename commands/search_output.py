"""What `secateur search` tells while it searches, and at the end."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from secateur.compiler.measure.tables import table

from .output import Output

if TYPE_CHECKING:
    from rich.console import Console

    from secateur.compression.search.driver import Progress
    from secateur.compression.search.measurement import Goal
    from secateur.compression.search.report import Reference
    from secateur.compression.search.trials import Trials


def progress_words(progress: "Progress", goals: "list[Goal]", seconds: float | None) -> str:
    """How far a search is, in a line: candidates, the best of each goal, what runs, and the time left."""
    trials = progress.trials.all()
    failed = sum(t.failure is not None for t in trials)
    words = [f"{len(trials)} candidates" + (f" ({failed} failed)" if failed else "")]
    for goal in goals:
        if len(goal.objectives) > 1:
            words.append(f"{len(progress.trials.front(goal))} in front")
        elif (best := progress.trials.winner(goal)) is not None:
            words.append(", ".join(f"{name} {best.figures[name]:.3g}" for name in sorted(goal.figures)))
    words.append(f"{progress.running} running")
    if seconds is not None:
        words.append(f"{max(0.0, seconds - progress.seconds) / 60:.0f} min left")
    return ", ".join(words)


def finish(output: Output, out: Path, trials: "Trials", judge: Any, references: "list[Reference]") -> None:
    """Writes the report and shows the winners. Ends the command with exit code 1 where no goal has one."""
    from secateur.compression.search.report import missed, said, write_report

    files = write_report([out], references)
    winners: list[dict[str, Any]] = []
    for goal in trials.goals:
        best = trials.winner(goal)
        if best is None:
            winners.append({"goal": said(goal), "missed": missed(trials, goal)})
            continue
        # Of several objectives there is no single best.
        for trial in trials.front(goal) if len(goal.objectives) > 1 else [best]:
            places = {"folder": judge.trained(trial.candidate), "bundle": judge.bundle(trial.candidate)}
            found = {"number": trial.number, "candidate": trial.candidate, "figures": trial.figures}
            found |= {name: str(place) for name, place in places.items() if place.exists()}
            winners.append({"goal": said(goal), **found})
    value = {"candidates": len(trials.all()), "winners": winners, "report": [str(file) for file in files]}

    def show(console: "Console") -> None:
        rows = [
            (
                w["goal"],
                str(w["number"]),
                ", ".join(f"{n} {v:.4g}" for n, v in w["figures"].items()),
                w.get("folder", ""),
            )
            for w in winners
            if "number" in w
        ]
        if rows:
            console.print(table(("goal", "candidate", "figures", "model"), rows))
        for winner in winners:
            if "missed" in winner:
                console.print(winner["missed"], markup=False, soft_wrap=True)
        console.print(f"report: {', '.join(value['report'])}", markup=False, soft_wrap=True)

    output.result(value, show)
    if all("missed" in winner for winner in winners):
        raise typer.Exit(1)


def write(output: Output, folders: list[Path], references: "list[Reference]") -> None:
    """Writes the report of the search in the first folder, and its export for optuna-dashboard."""
    from secateur.compression.search.export import export_study
    from secateur.compression.search.report import write_report

    files = [*write_report(folders, references), export_study(folders[0])]
    value = {"files": [str(file) for file in files]}
    output.result(value, lambda console: console.print("\n".join(value["files"]), markup=False, soft_wrap=True))


def reference_of(text: str) -> "Reference":
    """The reference of `--reference NAME=28.9ms,f1=79.4`: milliseconds are `latency_ms`. Raises `BadParameter`."""
    from secateur.compression.search.report import Reference

    name, _, figures = text.partition("=")
    found: dict[str, float] = {}
    for figure in figures.split(","):
        match = re.fullmatch(r"(?:(\w+)=)?([0-9.]+(?:e-?[0-9]+)?)(ms)?", figure.strip())
        if not name or match is None or not (match[1] or match[3]):
            raise typer.BadParameter(
                f"found '{text}'; accepted is a name with figures, such as 'LiteRT f32=28.9ms,f1=79.4'",
                param_hint="--reference",
            )
        found[match[1] or "latency_ms"] = float(match[2])
    return Reference(name, found)
