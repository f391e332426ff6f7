"""The page of a search: one HTML file that needs nothing else, and the front as a PNG where matplotlib is at hand."""

import html
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from secateur.dialects.output_places import write_whole

from ..measurement import Objective
from ..trials import Trial
from .drawing import COLOURS, Axes, bars, layers
from .facts import Facts, Front, Reference, facts_of, missed

PAGE, PICTURE = "report.html", "report.png"
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 860px; margin: 2em auto; padding: 0 1em; color: #222; }
svg { max-width: 560px; width: 100%; display: block; margin: .6em 0; font: 11px system-ui, sans-serif; }
.grid { stroke: #e3e3e3; } table { border-collapse: collapse; margin: .6em 0; }
td, th { padding: 2px 10px 2px 0; text-align: left; vertical-align: top; border-bottom: 1px solid #eee; }
td.figure { text-align: right; } code { font-size: 12px; overflow-wrap: anywhere; }
"""


def write_report(folders: Sequence[Path], references: Sequence[Reference] = ()) -> list[Path]:
    """Writes the report of the search in the first of `folders` into it and returns the files; the growth of the others
    stands beside its own (other controllers on the same space, say).

    `references`: models to stand beside the candidates. Raises `SearchError` where a folder holds no search.
    """
    found = [facts_of(folder) for folder in folders]
    page, picture = folders[0] / PAGE, folders[0] / PICTURE
    write_whole(page, _page(found, references).encode())
    files = [page]
    if found[0].fronts and importlib.util.find_spec("matplotlib") is not None:
        _write_picture(picture, found[0].fronts[0], references)
        files.append(picture)
    return files


def _page(found: Sequence[Facts], references: Sequence[Reference]) -> str:
    facts = found[0]
    trials = facts.trials.all()
    failed = sum(facts.failures.values())
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Search</title><style>{_STYLE}</style>",
        "<h1>Search</h1>",
        f"<p>{len(trials)} candidates, {failed} of them failed; {facts.seconds / 60:.0f} minutes of work; controller "
        f"{html.escape(facts.controller)}.</p>",
    ]
    for front in facts.fronts:
        parts += [f"<h2>{front.up.figure} against {front.across}</h2>", _drawn_front(front, references)]
    parts.append("<h2>Winners</h2>")
    for goal, (words, trial) in zip(facts.trials.goals, facts.winners, strict=True):
        parts.append(f"<h3>{html.escape(words)}</h3>")
        parts.append(
            f"<p>{html.escape(missed(facts.trials, goal) or '')}</p>" if trial is None else _winner(facts, trial)
        )
    if facts.importance:
        parts += ["<h2>What matters</h2>", "<p>The part of the objective's variance that a choice explains.</p>"]
        parts.append(bars(facts.importance[:16], "importance of choices"))
    if any(growth for one in found for growth in one.growth):
        objective = facts.trials.goals[0].objectives[0]
        parts += ["<h2>The best so far</h2>", _drawn_growth(found, objective)]
    if facts.agreement:
        parts.append("<h2>How well the stages agree</h2>")
        rows = [(one, other, f"{r:.2f}", str(count)) for one, other, r, count in facts.agreement]
        parts.append(_table(("cheap", "dear", "rank correlation", "candidates"), rows))
    if facts.failures:
        parts.append("<h2>Failures</h2>")
        parts.append(_table(("why", "candidates"), [(why, str(n)) for why, n in facts.failures.items()]))
    return "\n".join(parts) + "\n"


def _winner(facts: Facts, trial: Trial) -> str:
    figures = _table(("figure", "value"), [(name, _number(value)) for name, value in trial.figures.items()])
    shared = [f"{n} = {v}" for n, v in trial.candidate.items() if not any(p.isdigit() for p in n.split("."))]
    drawing = layers(trial.candidate, facts.choices, f"candidate {trial.number}")
    return (
        f"<p>Candidate {trial.number}, after {html.escape(', '.join(trial.stages))}. {html.escape(', '.join(shared))}"
        f"</p>{drawing}{figures}"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1e5 else f"{value:.5g}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["<table><tr>" + "".join(f"<th>{html.escape(head)}</th>" for head in heads) + "</tr>"]
    for row in rows:
        lines.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>")
    return "\n".join([*lines, "</table>"])


def _beside(front: Front, references: Sequence[Reference]) -> list[tuple[str, tuple[float, float]]]:
    wanted = {front.across, front.up.figure}
    return [
        (r.name, (r.figures[front.across], r.figures[front.up.figure]))
        for r in references
        if wanted <= r.figures.keys()
    ]


def _drawn_front(front: Front, references: Sequence[Reference]) -> str:
    beside = _beside(front, references)
    axes = Axes([*front.points.values(), *(point for _, point in beside)], front.across, front.up.figure)
    for number, point in front.points.items():
        if number not in front.best:
            axes.dot(point, f"candidate {number}: {point[0]:.4g}, {point[1]:.4g}", "#b9c4d0", 2.5)
    axes.line([front.points[number] for number in front.best], COLOURS[0])
    for number in front.best:
        point = front.points[number]
        axes.dot(point, f"candidate {number}: {point[0]:.4g}, {point[1]:.4g}", COLOURS[0])
    for name, point in beside:
        axes.dot(point, name, COLOURS[1], 4.5)
        axes.name(point, name, COLOURS[1])
    return axes.drawn(f"{front.up.figure} against {front.across}")


def _drawn_growth(found: Sequence[Facts], objective: Objective) -> str:
    sign = -1 if objective.largest else 1
    lines = []
    for facts in found:
        for goal, growth in zip(facts.winners, facts.growth, strict=True):
            points = [(float(count), sign * loss) for count, loss in growth]
            lines.append((f"{facts.controller}: {goal[0]}", points))
    axes = Axes([point for _, points in lines for point in points], "candidates", objective.figure)
    names = []
    for number, (name, points) in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        if points:
            axes.line(points, colour, steps=True)
        names.append(f"<span style='color:{colour}'>&#9632;</span> {html.escape(name)}")
    return axes.drawn("the best so far") + f"<p>{'<br>'.join(names)}</p>"


def _write_picture(path: Path, front: Front, references: Sequence[Reference]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), dpi=130)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    rest = [point for number, point in front.points.items() if number not in front.best]
    axes.scatter([p[0] for p in rest], [p[1] for p in rest], s=12, color="#b9c4d0")
    best = [front.points[number] for number in front.best]
    axes.plot([p[0] for p in best], [p[1] for p in best], "o-", color=COLOURS[0], markersize=5)
    for name, point in _beside(front, references):
        axes.plot(*point, "s", color=COLOURS[1])
        axes.annotate(name, point, textcoords="offset points", xytext=(6, 5), color=COLOURS[1])
    axes.set_xlabel(front.across)
    axes.set_ylabel(front.up.figure)
    axes.grid(color="#e3e3e3")
    figure.tight_layout()
    new = path.with_suffix(".new.png")
    figure.savefig(new)
    new.replace(path)
