"""The tables that controllers are compared on, and the comparison."""

import statistics

import pytest

from secateur.benchmarks import search_controllers
from secateur.benchmarks.search_controllers import NAMES, Table, candidates_needed, main


@pytest.mark.parametrize("name", NAMES)
def test_a_table_has_every_candidate(name):
    table = Table(name)
    assert 1000 <= len(table.figures) <= 5000 and len(table.figures) == table.space.size
    kept = [f for f in table.figures.values() if table.goal.limits[0].excess(f) <= 0]
    assert 0.05 < len(kept) / len(table.figures) < 0.95
    assert 1 <= table.enough < 0.01 * len(table.figures)
    assert all(f["kl"] > -1e-6 and f["latency_ms"] >= 0 for f in table.figures.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_controller_needs_fewer_candidates_than_the_bar(name):
    found = [candidates_needed(Table(name), "genetic", seed) for seed in range(7)]
    assert statistics.median(found) <= search_controllers.BAR * Table(name).space.size


def test_the_table_is_written_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- controllers -->\nold\n<!-- end of controllers -->\nafter\n")
    main(["--seeds", "1", "--only", "additive", "--tables", "layers", "--page", str(page)])
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| additive | " in text
