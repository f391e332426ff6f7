import html.parser
import math
import re

import numpy as np
import pytest

from secateur.compression.search.errors import SearchError
from secateur.compression.search.export import export_study
from secateur.compression.search.journal import Journal
from secateur.compression.search.measurement import Goal, Limit, Objective, Stage
from secateur.compression.search.outcome import outcome_of, ranks
from secateur.compression.search.report import Reference, facts_of, missed, write_report
from secateur.compression.search.report.drawing import layers, ticks
from secateur.compression.search.report.facts import importance
from secateur.compression.search.search import _header
from secateur.compression.search.trials import Trial

from .tables import GOAL, SPACE, figures

STAGES = (Stage("cost"), Stage("loss", Objective("loss")), Stage("trained", Objective("f1", largest=True)))


class _Stages:
    stages = STAGES


def _search(folder, count=80, goal=GOAL, controller="random"):
    """The journal of a search whose figures are known."""
    journal = Journal(folder / "journal.jsonl")
    journal.begin(_header(SPACE, _Stages(), [goal], controller, 0, 1, ()))
    random = np.random.default_rng(1)
    lines = []
    for number in range(count):
        candidate = SPACE.sample(random)
        found = figures(candidate)
        lines.append({"kind": "candidate", "number": number, "candidate": candidate})
        result = {"kind": "result", "number": number, "seconds": 1.0}
        if number % 10 == 9:
            lines.append({**result, "stage": "cost", "figures": {}, "failure": "it is <odd>"})
            continue
        lines.append({**result, "stage": "cost", "figures": {"cost": found["cost"]}})
        if found["cost"] <= 2.0:
            lines.append({**result, "stage": "loss", "figures": {"loss": found["loss"]}})
            lines.append({**result, "stage": "trained", "figures": {"f1": 90 - 10 * found["loss"] ** 2}})
    with journal.locked():
        journal.append(lines)
    return folder


def test_facts_are_those_of_the_journal(tmp_path):
    facts = facts_of(_search(tmp_path))
    trials = facts.trials.all()
    kept = [t for t in trials if t.outcome(GOAL).feasible]
    assert len(trials) == 80 and 4 <= len(kept) < 30 and facts.failures == {"it is <odd>": 8}
    best = min(kept, key=lambda t: t.figures["loss"])
    assert facts.winners == [("loss, cost <= 2", best)]
    assert facts.growth[0][-1] == (80, best.figures["loss"])
    assert all(a[1] > b[1] for a, b in zip(facts.growth[0][:-2], facts.growth[0][1:-1], strict=True))
    # F1 falls with the loss, so the ranks agree wholly.
    assert facts.agreement == [("loss", "f1", pytest.approx(1.0), len(kept))]
    goal = Goal((Objective("f1", largest=True), Objective("cost")))
    outcomes = [outcome_of(goal, t.figures) for t in kept]
    wanted = {t.number for t, rank in zip(kept, ranks(outcomes), strict=True) if rank == 0}
    assert facts.fronts[0].up.figure == "f1" and set(facts.fronts[0].best) == wanted


def test_importance_is_that_of_what_the_figure_depends_on():
    random = np.random.default_rng(0)
    trials = []
    for number in range(200):
        candidate = {name: int(random.integers(4)) for name in "abc"}
        value = 10.0 * candidate["a"] + 3.0 * candidate["b"] + random.normal()
        trials.append(Trial(number, candidate, ("s",), ({"x": value},)))
    found = dict(importance(trials, Objective("x")))
    assert list(found)[:2] == ["a", "b"] and found["a"] > 0.8 and 0.03 < found["b"] < 0.2 and found.get("c", 0) < 0.02
    assert importance(trials[:11], Objective("x")) == []


class _Balanced(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.numbers = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "br"):
            self.open.append(tag)
        self.numbers += [value for name, value in attributes if name in ("x", "y", "cx", "cy", "width", "height")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole(tmp_path):
    first, second = _search(tmp_path / "a"), _search(tmp_path / "b", controller="genetic")
    files = write_report([first, second], [Reference("LiteRT <f32>", {"cost": 3.0, "f1": 95.0})])
    text = files[0].read_text()
    page = _Balanced(text)
    assert page.open in ([], ["html"]) and all(math.isfinite(float(n)) for n in page.numbers)
    for words in (
        "LiteRT &lt;f32&gt;",
        "it is &lt;odd&gt;",
        "genetic: loss, cost &lt;= 2",
        "rank correlation",
        "f1 against cost",
    ):
        assert words in text, words
    assert not re.search(r'(src|href)="?http', text)
    # Both fronts, and the reference in that of F1.
    assert text.count("<circle") == sum(len(front.points) for front in facts_of(first).fronts) + 1
    if len(files) > 1:
        assert files[1].read_bytes().startswith(b"\x89PNG")


def test_layers_are_drawn_as_parts_of_what_there_was():
    candidate = {
        "layer.0": True,
        "heads.0": 6,
        "layer.1": False,
        "heads.1": 12,
        "scheme.0.qkv": "bcr 4x1",
        "numbers": "f32",
    }
    choices = {"heads.0": (12, 6), "heads.1": (12, 6), "scheme.0.qkv": ("bcr 4x1",)}
    drawn = layers(candidate, choices, "one")
    full, half = (float(w) for w in re.findall(r'<rect [^>]*width="([\d.]+)"', drawn))
    assert half == pytest.approx(full / 2)
    assert "left out" in drawn and "bcr 4x1" in drawn and "scheme qkv" in drawn
    assert layers({"a": 1}, {}, "none") == ""
    assert ticks(0.0, 1.0) == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]) and ticks(2.0, 2.0) == [2.0]


def test_what_nothing_meets_is_a_sentence_with_the_least(tmp_path):
    goal = Goal((Objective("loss"),), (Limit("cost", 0.001),))
    facts = facts_of(_search(tmp_path, goal=goal))
    costs = [t.figures["cost"] for t in facts.trials.all() if not t.failure]
    sentence = missed(facts.trials, goal)
    assert sentence == f"no candidate has cost <= 0.001: the least of {len(costs)} is {min(costs):.4g}"
    assert sentence.replace("<", "&lt;") in write_report([tmp_path])[0].read_text()


def test_optuna_reads_the_export(tmp_path):
    import optuna

    path = export_study(_search(tmp_path))
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    study = optuna.load_study(study_name="smooth", storage=storage)
    facts = facts_of(tmp_path)
    assert len(study.trials) == 80
    assert study.best_value == facts.winners[0][1].figures["loss"]
    assert study.best_params == facts.winners[0][1].candidate
    assert sum("failure" in t.user_attrs for t in study.trials) == 8
    # Written anew, not behind what was there.
    export_study(tmp_path)
    assert len(optuna.load_study(study_name="smooth", storage=storage).trials) == 80


def test_nothing_to_report_is_a_sentence(tmp_path):
    with pytest.raises(SearchError, match="there is no search in"):
        write_report([tmp_path])
    _search(tmp_path, count=0)
    with pytest.raises(SearchError, match="has no results yet"):
        write_report([tmp_path])
