"""How many candidates each controller needs: three spaces of which every candidate was measured once (`search_tables`).

    python -m secateur.benchmarks.search_controllers [--seeds 15] [--only genetic,tpe] [--page docs/search.md]

For each space the loss is `kl` and the limit half of the largest latency in the table; the reward of a candidate is
exp(-kl), the part of the probability of the dense model's answers that is left, and 0 where the limit is missed. A
controller has found enough with 95 % of the best reward in the table. What is told is the median over seeds of the
candidates until then, at most a quarter of the space.
"""

import argparse
import json
import math
import re
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from secateur.compression.search.controllers import CONTROLLERS, make_controller
from secateur.compression.search.measurement import Goal, Limit, Objective
from secateur.compression.search.proposals import Proposals
from secateur.compression.search.space import Dimension, Space, candidate_line

FOLDER = Path(__file__).parent / "tables"
ENOUGH, MOST, SEEDS = 0.95, 0.25, 15
BAR = 0.1
NAMES = ("rates", "layers", "widths")
_BEGIN, _END = "<!-- controllers -->", "<!-- end of controllers -->"


class Table:
    """A space with the figures of all candidates."""

    def __init__(self, name: str) -> None:
        read = json.loads((FOLDER / f"{name}.json").read_text())
        dimensions = tuple(Dimension(n, tuple(choices), phase) for n, choices, phase in read["dimensions"])
        self.space = Space(name, dimensions)
        columns: Mapping[str, Sequence[float]] = read["figures"]
        rows = zip(*columns.values(), strict=True)
        self.figures = {
            candidate_line(candidate): dict(zip(columns, row, strict=True))
            for candidate, row in zip(self.space.enumerate(), rows, strict=True)
        }
        most = max(figures["latency_ms"] for figures in self.figures.values()) / 2
        self.goal = Goal((Objective("kl"),), (Limit("latency_ms", most),))
        self.best = max(map(self.reward, self.figures.values()))

    def reward(self, figures: Mapping[str, float]) -> float:
        """exp(-kl), or 0 where the limit is missed."""
        return math.exp(-figures["kl"]) if self.goal.limits[0].excess(figures) <= 0 else 0.0

    @property
    def enough(self) -> int:
        """How many candidates have 95 % of the best reward."""
        return sum(self.reward(figures) >= ENOUGH * self.best for figures in self.figures.values())


def candidates_needed(table: Table, controller: str, seed: int) -> int:
    """Candidates until one has 95 % of the best reward; a quarter of the space where none of those has."""
    most = round(MOST * len(table.figures))
    made = make_controller(controller, table.space, table.goal, seed)
    proposals = Proposals(table.space, [table.goal], [made], seed)
    for number in range(most):
        candidate = proposals.next()
        assert candidate is not None
        figures = table.figures[candidate_line(candidate)]
        if table.reward(figures) >= ENOUGH * table.best:
            return number + 1
        proposals.tell(number, figures)
    return most


def contest(names: Sequence[str], controllers: Sequence[str], seeds: int) -> list[str]:
    """The rows of the published table; each is printed when it is known."""
    tables = [Table(name) for name in names]
    heads = [f"{t.space.name} ({t.enough} of {len(t.figures):,} are enough)" for t in tables]
    rows = ["| controller | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(tables)]
    for controller in controllers:
        cells, began = [], time.monotonic()
        for table in tables:
            found = [candidates_needed(table, controller, seed) for seed in range(seeds)]
            middle = statistics.median(found)
            more = "> " if middle >= round(MOST * len(table.figures)) else ""
            cells.append(f"{more}{middle:.0f} ({more}{middle / len(table.figures):.1%})")
        rows.append(f"| {controller} | " + " | ".join(cells) + " |")
        print(f"{rows[-1]}  {time.monotonic() - began:.0f} s", flush=True)
    return rows


def write_table(page: Path, rows: Sequence[str]) -> None:
    """Puts the rows between the two marks of a page."""
    text = page.read_text()
    table = "\n".join([_BEGIN, "", *rows, "", _END])
    page.write_text(re.sub(f"{_BEGIN}.*?{_END}", lambda match: table, text, flags=re.DOTALL))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the contest and prints its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=SEEDS, help="seeds for each controller (default: %(default)s)")
    parser.add_argument("--only", default=",".join(CONTROLLERS), help="controllers, with commas")
    parser.add_argument("--tables", default=",".join(NAMES), help="spaces, with commas")
    parser.add_argument("--page", type=Path, help="write the table between the marks of this page")
    options = parser.parse_args(arguments)
    rows = contest(options.tables.split(","), options.only.split(","), options.seeds)
    print("\n".join(rows))
    if options.page is not None:
        write_table(options.page, rows)


if __name__ == "__main__":
    main()
