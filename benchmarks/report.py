"""The table of bars and docs/results.md, from the lines of a results file."""

from collections.abc import Mapping, Sequence
from typing import Any

from .bars import Result, judge
from .peers.contest import IDLE_LIMIT

# What an engine's own bookkeeping may take beside its threads before it is told.
THREADS_MARGIN = 0.25

Lines = Mapping[str, dict[str, Any]]

HOW = """Random weights (latency does not depend on training) but for the models of `squad`, batch 1, 128 tokens, \
32-bit floats where no name says otherwise. Every engine runs in a process of its own, with the same number of \
threads, on the same weights and inputs; all take turns, one run each, and the order turns too. Milliseconds are \
measured inside those processes. "L2" is the relative L2 distance of the outputs from PyTorch's. Dense engines get the \
dense weights, because zeros change nothing for them; DeepSparse gets 90 % unstructured zeros, and in int8 zeros in \
units of 1x4. "OpenVINO default" is in bf16 where the processor has it. The models of `squad` are those of `make \
demo KEEP=demo` (`--demo demo`); F1 is that of 1,000 questions of SQuAD's dev set, with a standard error of 1.3. Times \
of one table may be compared, those of two tables were measured at two times."""


_PICTURES = {
    "bert-base": "Latency of BERT-base by engine",
    "squad": "F1 against the latency of a window, all engines and precisions",
}


def verdict(result: Result) -> str:
    """`met`, `missed` or `not measured`."""
    return {True: "met", False: "missed", None: "not measured"}[result.met]


def amount(value: float | None, unit: str) -> str:
    """`8.12x`, `31.0 s`, or a dash."""
    if value is None:
        return "-"
    if unit == "x":
        return f"{value:.2f}x"
    return f"{value:.2f}" if unit == "of" else f"{value:.1f} {unit}"


def bar_rows(results: Sequence[Result]) -> list[tuple[str, str, str, str, str]]:
    """Workload, what is compared, measured, bar, verdict."""
    rows = []
    for result in results:
        bar = result.bar
        sign = "<=" if bar.at_most else ">="
        limit = (
            f"{bar.limit:g}x" if bar.unit == "x" else f"{bar.limit:g}" + ("" if bar.unit == "of" else f" {bar.unit}")
        )
        rows.append((bar.workload, bar.what, amount(result.value, bar.unit), f"{sign} {limit}", verdict(result)))
    return rows


ENTRY_COLUMNS = ("threads", "min, ms", "p25", "median", "L2", "F1")


def entry_rows(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Candidate, threads, minimum, lower quartile, median in milliseconds, L2, F1; the fastest median first."""
    rows = []
    for name, entry in sorted(record["entries"].items(), key=lambda item: item[1]["latency"]["median_ms"]):
        latency, error = entry["latency"], entry["relative_l2"]
        times = (f"{latency[key]:.3g}" for key in ("min_ms", "p25_ms", "median_ms"))
        score = entry.get("score")
        scored = f"{score['f1']:.2f}" if score else "-"
        rows.append((name, str(record["threads"][name]), *times, "-" if error is None else f"{error:.0e}", scored))
    return rows


def notes(record: Mapping[str, Any]) -> list[str]:
    """A sentence for every candidate that did not take part, or that disturbed the others."""
    found = [f"{name} did not take part: {reason}." for name, reason in record.get("skipped", {}).items()]
    for name, entry in record.get("entries", {}).items():
        if entry["idle_fraction"] > IDLE_LIMIT:
            found.append(f"{name} took {entry['idle_fraction']:.0%} of a processor while it was idle.")
        if entry["busy_threads"] > record["threads"][name] + THREADS_MARGIN:
            found.append(f"{name} took {entry['busy_threads']:.1f} processors while it ran.")
    return found


def markdown(lines: Lines, charts: Mapping[str, str]) -> str:
    """The page: machine, bars, times of every measurement, versions. `charts`: measurement -> name of a picture beside
    the page.
    """
    newest = max(lines.values(), key=lambda line: line["finished"])
    machine = newest["machine"]
    records = {name: line["record"] for name, line in lines.items()}
    parts = [
        "# Results\n",
        "<!-- Written by `make bench-peers`; do not edit. -->\n",
        f"Measured on {machine_line(machine)}; finished {newest['finished']}. What pruned models still know is in "
        "[accuracy.md](accuracy.md).\n",
        HOW + "\n",
    ]
    # A page of some measurements has the bars of these.
    results = [result for result in judge(records) if result.bar.measurement in records]
    parts.append(markdown_table(("workload", "compared", "measured", "bar", "verdict"), bar_rows(results)))
    for name, record in records.items():
        if "entries" in record:
            parts.append(f"## {name}\n")
            if name in charts:
                parts.append(f"![{_PICTURES[name]}]({charts[name]})\n")
            runs = max(entry["latency"]["runs"] for entry in record["entries"].values()) if record["entries"] else 0
            parts.append(f"{runs} runs each, finished {lines[name]['finished']}.\n")
            parts.append(markdown_table(("", *ENTRY_COLUMNS), entry_rows(record)))
            parts += [f"- {note}" for note in notes(record)]
            if notes(record):
                parts.append("")
        parts += _details(name, record)
    parts.append("## Versions\n")
    versions = dict(machine["versions"])
    for record in records.values():
        for entry in record.get("entries", {}).values():
            versions |= entry["versions"]
    parts.append(", ".join(f"{name} {version}" for name, version in sorted(versions.items())) + ".\n")
    return "\n".join(parts)


def machine_line(machine: Mapping[str, Any]) -> str:
    """Processor, cores, memory, system."""
    return (
        f"{machine['processor']} ({machine['architecture']}, {', '.join(machine['vector_extensions'])}), "
        f"{machine['cores']} cores, {machine['memory_bytes'] / (1 << 30):.0f} GiB, {machine['system']}, "
        f"Python {machine['python']}"
    )


def _details(name: str, record: Mapping[str, Any]) -> list[str]:
    parts = []
    if "weight_bytes" in record:
        parts.append("Weights and indices read by a run, over the time of its kernels and over the whole call:\n")
        rows = []
        for candidate, count in record["weight_bytes"].items():
            if candidate in record["entries"]:
                call = record["entries"][candidate]["latency"]["median_ms"]
                kernels = sum(record["kernels_ms"][candidate].values())
                rates = (f"{count / ms / 1e6:.1f}" for ms in (kernels, call))
                rows.append((candidate, f"{count / 1e6:.2f}", f"{kernels:.4f}", f"{call:.4f}", *rates))
        columns = ("", "MB", "kernels, ms", "call, ms", "GB/s in kernels", "GB/s of the call")
        parts.append(markdown_table(columns, rows))
    if "scaling" in record:
        parts.append("Milliseconds of a run in each kernel, medians:\n")
        rows = []
        for row in record["scaling"]:
            one, two = row["one_thread_ms"], row["two_threads_ms"]
            times = (f"{one:.3f}", f"{two:.3f}", f"{one / two:.2f}x") if one and two else ("-", f"{two:.3f}", "-")
            rows.append((row["kernel"], str(row["calls"]), *times))
        parts.append(markdown_table(("kernel", "calls", "1 thread", "2 threads", "speed-up"), rows))
    if "flops" in record:
        rows = []
        for candidate, flops in record["flops"].items():
            if candidate in record["entries"]:
                rate = flops / record["entries"][candidate]["latency"]["median_ms"] / 1e6
                rows.append((candidate, f"{flops / 1e9:.2f}", f"{rate:.1f}"))
        parts += ["Operations that remain, over time:\n", markdown_table(("", "GFLOP", "GFLOP/s"), rows)]
    if "stages" in record:
        parts += [f"## {name}\n", "Seconds by stage of a compilation without the cache:\n"]
        parts.append(markdown_table(("stage", "s"), [(k, f"{v:.1f}") for k, v in record["stages"].items()]))
    return parts


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; all columns but the first are aligned right."""
    lines = ["| " + " | ".join(columns) + " |", "|---" + "|---:" * (len(columns) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"
