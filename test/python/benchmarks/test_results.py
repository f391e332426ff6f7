"""Bars, results on disk, and the page that is made of them."""

import json

import pytest

from secateur.benchmarks import __main__ as command
from secateur.benchmarks import measurements
from secateur.benchmarks.bars import BARS, judge
from secateur.benchmarks.report import bar_rows, entry_rows, markdown, notes, verdict
from secateur.benchmarks.results import Results, machine


def entry(ms, error=1e-6, idle=0.0, busy=1.0):
    latency = {"runs": 20, "min_ms": 0.9 * ms, "p25_ms": 0.95 * ms, "median_ms": ms}
    return {"latency": latency, "relative_l2": error, "load_seconds": 1.0, "versions": {"engine": "1.2"},
            "first_run_seconds": 1.0, "idle_fraction": idle, "busy_threads": busy}  # fmt: skip


def record(**medians):
    return {"entries": {name: entry(ms) for name, ms in medians.items()}, "threads": dict.fromkeys(medians, 1),
            "skipped": {}}  # fmt: skip


LINEAR = record(**{"Secateur 90 % 16x1": 0.5, "torch.sparse CSR": 10.0, "SciPy CSR": 6.0})
COMPILATION = {"seconds": 40.0, "stages": {"import": 2.0}, "peak_memory_bytes": 5 << 30}


def results_of(measurement, found):
    return {(r.bar.what): r for r in judge(found) if r.bar.measurement == measurement}


def test_bars_are_ratios_of_medians_met_or_missed():
    found = results_of("linear-128-tokens", {"linear-128-tokens": LINEAR})
    assert found["faster than torch.sparse CSR"].value == pytest.approx(20)
    assert found["faster than torch.sparse CSR"].met is True
    assert found["faster than SciPy CSR"].value == pytest.approx(12)
    assert found["faster than SciPy CSR"].met is False


def test_a_bar_of_cost_is_met_at_its_limit_and_missed_above():
    found = results_of("compilation", {"compilation": COMPILATION})
    assert (found["time"].value, found["time"].met) == (40.0, True)
    assert (found["peak memory"].value, found["peak memory"].met) == (5.0, False)


def test_a_bar_without_its_candidate_says_why():
    lacking = {**LINEAR, "entries": {"SciPy CSR": entry(6.0)}, "skipped": {"Secateur 90 % 16x1": "it broke"}}
    for result in results_of("linear-128-tokens", {"linear-128-tokens": lacking}).values():
        assert result.met is None
        assert verdict(result) == "not measured"
    assert (
        "it broke" in results_of("linear-128-tokens", {"linear-128-tokens": lacking})["faster than SciPy CSR"].missing
    )
    assert all(r.missing == f"'{r.bar.measurement}' was not measured" for r in judge({}))


def test_flops_are_compared_as_rates():
    bert = record(**{"Secateur 90 % 16x1": 20.0, "NumPy sgemm 1024^3": 10.0})
    bert |= {"flops": {"Secateur 90 % 16x1": 9e9, "NumPy sgemm 1024^3": 5e9}, "padding_fraction": 0.02}
    found = results_of("bert-base", {"bert-base": bert})
    assert found["FLOP/s of NumPy's sgemm 1024^3"].value == pytest.approx(0.9)
    assert found["padding from packing"].value == pytest.approx(2.0)


def test_every_bar_belongs_to_a_measurement():
    assert {bar.measurement for bar in BARS} == set(measurements.MEASUREMENTS)


def test_rows_for_people():
    rows = bar_rows(judge({"linear-128-tokens": LINEAR, "compilation": COMPILATION}))
    assert ("linear 3072x768, 128 tokens, 90 %", "faster than SciPy CSR", "12.00x", ">= 14x", "missed") in rows
    assert ("compile BERT-base, import to bundle", "time", "40.0 s", "<= 40 s", "met") in rows
    assert [row[0] for row in entry_rows(LINEAR)] == ["Secateur 90 % 16x1", "SciPy CSR", "torch.sparse CSR"]
    assert entry_rows(LINEAR)[0] == ("Secateur 90 % 16x1", "1", "0.45", "0.475", "0.5", "1e-06", "-")


def test_notes_name_the_absent_and_those_that_disturb():
    noted = {"entries": {"A": entry(1.0, idle=0.5), "B": entry(1.0), "C": entry(1.0, busy=2.0)},
             "threads": dict.fromkeys("ABC", 1), "skipped": {"D": "it is not installed"}}  # fmt: skip
    assert notes(noted) == [
        "D did not take part: it is not installed.",
        "A took 50% of a processor while it was idle.",
        "C took 2.0 processors while it ran.",
    ]


def line(name, value, finished="2026-01-01 00:00 UTC"):
    return {"measurement": name, "machine": machine(), "finished": finished, "seconds": 1.0, "record": value}


def test_the_page_holds_machine_bars_times_and_versions():
    lines = {"linear-128-tokens": line("linear-128-tokens", LINEAR), "compilation": line("compilation", COMPILATION)}
    lines["squad"] = line("squad", LINEAR)
    page = markdown(lines, {"squad": "chart.png"})
    assert f"{machine()['cores']} cores" in page
    assert machine()["processor"] in page
    assert "all engines and precisions](chart.png)" in page
    assert "| SciPy CSR | 1 | 5.4 | 5.7 | 6 | 1e-06 |" in page
    assert "| linear 3072x768, 128 tokens, 90 % | faster than SciPy CSR | 12.00x | >= 14x | missed |" in page
    assert "engine 1.2" in page
    assert "chart" not in markdown(lines, {})


def test_the_page_shows_what_explains_a_bar():
    token = record(**{"Secateur dense": 1.0})
    token |= {"weight_bytes": {"Secateur dense": 8_000_000}, "kernels_ms": {"Secateur dense": {"a": 0.3, "b": 0.5}}}
    threads = record(**{"Secateur, threads: 2": 10.0})
    threads["scaling"] = [{"kernel": "k", "calls": 12, "one_thread_ms": 3.0, "two_threads_ms": 2.0},
                          {"kernel": "new", "calls": 1, "one_thread_ms": None, "two_threads_ms": 1.0}]  # fmt: skip
    bert = record(**{"Secateur 90 % 16x1": 20.0})
    bert |= {"flops": {"Secateur 90 % 16x1": 3e9, "NumPy sgemm 1024^3": 2e9}, "padding_fraction": 0.0}
    lines = {"linear-1-token": line("linear-1-token", token), "bert-base-threads": line("bert-base-threads", threads),
             "bert-base": line("bert-base", bert), "compilation": line("compilation", COMPILATION)}  # fmt: skip
    page = markdown(lines, {})
    assert "| Secateur dense | 8.00 | 0.8000 | 1.0000 | 10.0 | 8.0 |" in page
    assert "| k | 12 | 3.000 | 2.000 | 1.50x |" in page
    assert "| new | 1 | - | 1.000 | - |" in page
    assert "| Secateur 90 % 16x1 | 3.00 | 150.0 |" in page
    assert "| import | 2.0 |" in page


def test_results_survive_a_line_that_was_cut_off(tmp_path):
    results = Results(tmp_path / "deep" / "results.jsonl")
    assert results.read() == {}
    results.append({"measurement": "a", "record": 1})
    with results.path.open("a") as file:
        file.write('{"measurement": "b", "rec')
    results.append({"measurement": "a", "record": 2})
    results.append({"measurement": "c", "record": 3})
    assert {name: line["record"] for name, line in results.read().items()} == {"a": 2, "c": 3}


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """The command with measurements that only tell that they ran, and one that fails."""
    calls = []

    def measure(name, value):
        def run(shop, rounds):
            calls.append((name, rounds))
            if value is None:
                raise RuntimeError("no engine at all")
            return value

        return run

    fakes = {"linear-128-tokens": LINEAR, "minilm-l6": None, "compilation": COMPILATION}
    monkeypatch.setattr(command, "MEASUREMENTS", {name: measure(name, value) for name, value in fakes.items()})
    arguments = ["--results", tmp_path / "results.jsonl", "--kept", tmp_path / "kept", "--peers", tmp_path / "peers"]

    def run(*more):
        calls.clear()
        code = command.main([str(a) for a in (*arguments, *more)])
        return code, [name for name, _ in calls]

    return run


def test_a_failed_measurement_does_not_end_the_run_and_resume_does_the_rest(measured, tmp_path, capsys):
    page = tmp_path / "results.md"
    assert measured("--page", page) == (1, ["linear-128-tokens", "minilm-l6", "compilation"])
    printed = capsys.readouterr()
    assert "minilm-l6: failed: RuntimeError: no engine at all" in printed.err
    assert "12.00x" in printed.out
    assert "12.00x" in page.read_text()
    lines = [json.loads(text) for text in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [value["measurement"] for value in lines] == ["linear-128-tokens", "compilation"]
    assert measured("--resume") == (1, ["minilm-l6"])
    assert measured("--resume", "--only", "compilation") == (0, [])
    assert measured("--only", "compilation", "--rounds", "3") == (0, ["compilation"])


def test_an_unknown_measurement_is_refused(measured, capsys):
    with pytest.raises(SystemExit) as stopped:
        measured("--only", "linear")
    assert stopped.value.code == 2
    assert "linear-128-tokens" in capsys.readouterr().err
