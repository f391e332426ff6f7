"""Draws the medians of a measurement as bars: `python chart.py RESULTS.jsonl MEASUREMENT OUT.png`.

It runs in the peers' environment, which has matplotlib, and imports nothing of Secateur.
"""

import json
import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    results, measurement, out = arguments
    record = None
    for line in Path(results).read_text().splitlines():
        value = json.loads(line)
        if value["measurement"] == measurement:
            record, machine = value["record"], value["machine"]
    if record is None:
        print(f"error: '{results}' has no measurement '{measurement}'", file=sys.stderr)
        return 1
    entries = [(e["latency"]["median_ms"], name) for name, e in record["entries"].items() if "sgemm" not in name]
    entries.sort(reverse=True)
    figure, axes = pyplot.subplots(figsize=(9, 0.36 * len(entries) + 1.2))
    colours = ["#2a7f62" if name.startswith("Secateur") else "#9aa5b1" for _, name in entries]
    bars = axes.barh([name for _, name in entries], [ms for ms, _ in entries], color=colours)
    axes.bar_label(bars, labels=[f"{ms:.1f}" for ms, _ in entries], padding=3)
    axes.set_xlabel("median latency, ms (shorter is better)")
    axes.set_title(f"BERT-base, 128 tokens, batch 1, f32, one thread; {machine['processor']}", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.08)
    figure.tight_layout()
    figure.savefig(out, dpi=120)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
