"""Draws accuracy against latency: `python accuracy_chart.py RESULTS.jsonl TASK OUT.png`.

It runs in the peers' environment, which has matplotlib, and imports nothing of Secateur.
"""

import json
import sys
from pathlib import Path

COLOURS = {"bcr 4x16": "#1f78b4", "bcr 4x1": "#1b9e77", "bcr 16x1": "#e6ab02", "block 64": "#7570b3"}
# What keeps less of the dense model's metric than this is not worth its latency, and would flatten the rest.
SHOWN = 0.6
AXIS = {"squad": ("f1", "F1, dev split"), "sentiment": ("accuracy", "accuracy in percent, dev split")}


def main(arguments: list[str]) -> int:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    file, task, out = arguments
    lines = {}
    for text in Path(file).read_text().splitlines():
        line = json.loads(text)
        lines[line["measurement"]] = line["record"]
    metric, label = AXIS[task]
    median = {name: e["latency"]["median_ms"] for name, e in lines[f"latency {task}"]["entries"].items()}
    dense = lines[f"{task} dense"]["eval"]["metrics"][metric]
    scored = {name.removeprefix(f"{task} "): r for name, r in lines.items() if name.startswith(f"{task} ")}
    figure, axes = pyplot.subplots(figsize=(9, 5.5))

    def curve(points: list[tuple[float, float]], title: str, style: str, colour: str) -> None:
        if points:
            axes.plot(*zip(*sorted(points), strict=True), style, color=colour, label=title, markersize=7)

    usual = [r for name, r in scored.items() if r["point"] and name in median]
    for shape in dict.fromkeys(r["point"]["shape"] for r in usual):
        names = [name for name, r in scored.items() if r in usual and r["point"]["shape"] == shape]
        plain = [n for n in names if not scored[n]["point"]["steps"]]
        trained = [n for n in names if scored[n]["point"]["steps"]]
        value = {n: scored[n]["eval"]["metrics"][metric] for n in names}
        colour = COLOURS.get(shape, "#7f7f7f")
        curve([(median[n], value[n]) for n in plain], f"Secateur {shape}, no training", "o--", colour)
        curve([(median[n], value[n]) for n in trained], f"Secateur {shape}, trained", "*-", colour)
        peer = [(median[f"DeepSparse {n}"], value[n]) for n in plain if f"DeepSparse {n}" in median]
        curve(peer, f"DeepSparse {shape}, no training", "s:", "#e7298a")
    for title, marker in (("Secateur dense", "D"), ("LiteRT dense", "X"), ("PyTorch dense", "P")):
        if title in median:
            axes.plot([median[title]], [dense], marker, color="#333333", label=title, markersize=8)
    axes.set_xlabel("median latency of a window, ms (one thread, 128 tokens)")
    axes.set_ylabel(f"{label} (below {SHOWN * dense:.0f}: not shown)")
    axes.set_ylim(bottom=SHOWN * dense)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(out, dpi=120)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
