"""Draws F1 against latency, all engines and precisions: `python squad_chart.py RESULTS.jsonl OUT.png`.

It runs in the peers' environment, which has matplotlib, and imports nothing of Secateur.
"""

import json
import sys
from pathlib import Path

OURS, THEIRS = "#1b9e77", "#7f7f7f"
MARKS = {"int8": "s", "default": "D", "f32": "o"}


def main(arguments: list[str]) -> int:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    file, out = arguments
    lines = [json.loads(text) for text in Path(file).read_text().splitlines()]
    record = [line["record"] for line in lines if line["measurement"] == "squad"][-1]
    figure, axes = pyplot.subplots(figsize=(9, 5))
    points = []
    for name, entry in record["entries"].items():
        if entry["score"] is None:
            continue
        ours = name.startswith("Secateur")
        kind = next((kind for kind in MARKS if kind in name), "f32")
        x, y = entry["latency"]["median_ms"], entry["score"]["f1"]
        axes.plot([x], [y], MARKS[kind], color=OURS if ours else THEIRS, markersize=8)
        points.append((x, y, name, ours))
    place_names(axes, points)
    axes.set_xscale("log")
    ticks = [3, 4, 5, 7, 10, 15, 20, 30, 40]
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel("median latency of a window of 128 tokens, ms (one thread; faster is left)")
    axes.set_ylabel("F1 on 1,000 questions of SQuAD's dev set")
    low, high = min(y for _, y, _, _ in points), max(y for _, y, _, _ in points)
    axes.set_ylim(low - 0.35 * (high - low + 0.5), high + 0.6 * (high - low + 0.5))
    axes.set_xlim(min(x for x, *_ in points) / 1.45, max(x for x, *_ in points) * 1.5)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(out, dpi=120)
    return 0


def place_names(axes, points) -> None:
    """Writes the names of our points below them, those of others above, and higher where another name is."""
    taken = [(x, y - 0.2) for x, y, _, ours in points if ours]
    for x, y, name, ours in sorted(points):
        if ours:
            axes.annotate(
                name, (x, y), xytext=(0, -14), textcoords="offset points", ha="center", fontsize=8, color=OURS,
                fontweight="bold",
            )  # fmt: skip
            continue
        step = 0
        while any(abs(x / other - 1) < 0.6 and abs(y + step - height) < 0.17 for other, height in taken):
            step += 0.18
        taken.append((x, y + step))
        axes.annotate(
            name, (x, y), xytext=(x * 1.03, y + step + 0.06), fontsize=8, color="#333333",
            arrowprops={"arrowstyle": "-", "color": "#bbbbbb", "lw": 0.6} if step else None,
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
