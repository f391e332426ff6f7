"""Reports on a run: wall time and statistics by pass."""

import json
from collections.abc import Sequence

from secateur.compiler.pipeline.passmanager import PassRecord

_RULE = "===" + "-" * 73 + "==="


def _title(text: str) -> str:
    return f"{_RULE}\n{text.center(len(_RULE)).rstrip()}\n{_RULE}\n"


def timing_report(passes: Sequence[PassRecord], others: Sequence[tuple[str, float]] = ()) -> str:
    """Wall time by pass in order, as `--mlir-timing` prints it. `others`: (name, seconds) of parsing and printing."""
    rows = [(r.text, r.seconds) for r in passes]
    verifying = sum(r.verify_seconds for r in passes)
    first, last = others[:1], others[1:]
    rows = [*first, *rows, ("(verify)", verifying), *last]
    total = sum(seconds for _, seconds in rows)
    lines = [f"  {s:8.4f} ({100 * s / total if total else 0:5.1f}%)  {name}" for name, s in rows]
    lines.append(f"  {total:8.4f} (100.0%)  Total")
    head = _title("... Execution time report ...")
    return (
        f"{head}  Total Execution Time: {total:.4f} seconds\n\n  ----Wall Time----  ----Name----\n"
        + "\n".join(lines)
        + "\n"
    )


def statistics_text(passes: Sequence[PassRecord]) -> str:
    """Statistics by pass in order, passes without any left out."""
    lines = []
    for record in passes:
        if record.statistics:
            lines.append(record.text)
            lines += [f"  (S) {value:>12,.12g} {name}" for name, value in sorted(record.statistics.items())]
    return _title("... Pass statistics report ...") + "\n".join(lines or ["(no statistics)"]) + "\n"


def statistics_json(passes: Sequence[PassRecord]) -> str:
    """`{"passes": [{"pass", "argument", "seconds", "statistics"}]}`, every pass in order."""
    listed = [
        {"pass": r.name, "argument": r.text, "seconds": round(r.seconds, 6), "statistics": r.statistics} for r in passes
    ]
    return json.dumps({"passes": listed}, indent=1) + "\n"
