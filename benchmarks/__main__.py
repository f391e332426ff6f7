"""Measures the table of bars, prints it, and writes the results page: `make bench-peers`."""

import argparse
import datetime
import os
import subprocess
import sys
import time
from pathlib import Path

from .bars import judge
from .measurements import MEASUREMENTS
from .peers.registry import environments_folder
from .report import ENTRY_COLUMNS, bar_rows, markdown, notes
from .results import Results, machine

CHART, SQUAD = "bert-base", "squad"


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m secateur.benchmarks", description=__doc__)
    parser.add_argument(
        "--only", action="append", metavar="NAME", choices=list(MEASUREMENTS),
        help=f"measure only this; may be repeated: {', '.join(MEASUREMENTS)}",
    )  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="measure only what the results file does not have")
    parser.add_argument("--rounds", type=int, default=20, help="interleaved rounds")
    parser.add_argument("--results", type=Path, default=Path(".cache/benchmarks/results.jsonl"), metavar="FILE")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the results page, and the chart beside it")
    parser.add_argument("--kept", type=Path, default=Path(".cache/benchmarks"), metavar="DIR",
                        help="folder for what the peers converted")  # fmt: skip
    parser.add_argument("--demo", type=Path, metavar="DIR",
                        help="what `make demo KEEP=DIR` left: models for the measurement 'squad'")  # fmt: skip
    parser.add_argument("--peers", type=Path, default=environments_folder(), metavar="DIR", help="their environments")
    return parser.parse_args(arguments)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    results = Results(options.results)
    wanted = [
        name for name in MEASUREMENTS if (name in options.only if options.only else name != SQUAD or options.demo)
    ]
    if options.resume:
        done = results.read()
        wanted = [name for name in wanted if name not in done]
    failed = _measure(options, results, wanted)
    lines = results.read()
    ordered = {name: lines[name] for name in MEASUREMENTS if name in lines}
    if not ordered:
        return 1
    _print(ordered)
    if options.page:
        _write_page(options, ordered)
    return 1 if failed else 0


def _measure(options: argparse.Namespace, results: Results, wanted: list[str]) -> bool:
    if not wanted:
        return False
    # Before torch is imported: the PyTorch of this process only prepares, one thread each is what the peers get.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from .workshop import Workshop

    failed, here = False, machine()
    for name in wanted:
        began, told = time.monotonic(), [0.0, ""]

        def progress(stage: str, name: str = name, told: list = told) -> None:
            head, now = stage.partition(",")[0], time.monotonic()
            if head != told[1] or now - told[0] > 10:
                say(f"{name}: {stage}")
                told[:] = [now, head]

        shop = Workshop(options.kept, options.peers, progress, options.demo)
        try:
            record = MEASUREMENTS[name](shop, options.rounds)
        except Exception as error:
            # The other measurements are worth having all the same.
            failed = True
            say(f"{name}: failed: {type(error).__name__}: {error}")
            continue
        finally:
            shop.close()
        finished = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
        seconds = time.monotonic() - began
        results.append(
            {"measurement": name, "machine": here, "finished": finished, "seconds": seconds, "record": record}
        )
        say(f"{name}: done in {seconds:.0f} s")
    return failed


def _print(lines: dict[str, dict]) -> None:
    from rich.console import Console

    from secateur.compiler.measure.tables import table

    from .report import entry_rows

    console = Console(width=None if sys.stdout.isatty() else 160)
    records = {name: line["record"] for name, line in lines.items()}
    for name, record in records.items():
        if "entries" in record:
            console.print(table((name, *ENTRY_COLUMNS), entry_rows(record)))
            for note in notes(record):
                console.print(note, markup=False, highlight=False)
            console.print()
    console.print(table(("workload", "compared", "measured", "bar", "verdict"), bar_rows(judge(records))))


def _write_page(options: argparse.Namespace, lines: dict[str, dict]) -> None:
    page: Path = options.page
    python = options.peers / "main" / "bin" / "python"
    pictures = {name: page.with_name(f"{page.stem}-{name}.png") for name in (CHART, SQUAD) if name in lines}
    programs = {CHART: ["chart.py", options.results, CHART], SQUAD: ["squad_chart.py", options.results]}
    drawn = {}
    for name, picture in pictures.items() if python.exists() else ():
        program, *arguments = programs[name]
        command = [python, "-P", Path(__file__).with_name(program), *arguments, picture]
        if subprocess.run([str(part) for part in command]).returncode == 0:
            drawn[name] = picture.name
    page.write_text(markdown(lines, drawn))
    say(" and ".join([f"wrote {page}", *drawn.values()]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
