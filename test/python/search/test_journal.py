import json
import os
import socket
import subprocess
import sys
import time

import pytest

from secateur.compression.search import journal as module
from secateur.compression.search.errors import SearchError
from secateur.compression.search.journal import Journal, driver_name

HEADER = {"space_key": "k", "seed": 0, "goals": [{"figure": "loss"}]}


def _journal(folder, *lines):
    journal = Journal(folder / "journal.jsonl")
    journal.begin(HEADER)
    if lines:
        with journal.locked():
            journal.append(list(lines))
    return journal


def _result(number, stage="loss", **more):
    return {"kind": "result", "number": number, "stage": stage, "figures": {"loss": 1.0}, "seconds": 0.5, **more}


def test_what_one_writes_others_read(tmp_path):
    one, other = _journal(tmp_path), Journal(tmp_path / "journal.jsonl")
    other.begin(HEADER)
    with one.locked():
        one.append([{"kind": "candidate", "number": 0, "candidate": {"a": 1}}, _result(0, failure="it broke")])
    other.refresh()
    assert other.candidates == {0: {"a": 1}} and other.results[0, "loss"].failure == "it broke"
    assert other.order == [(0, "loss")] and len((tmp_path / "journal.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("torn", [b"", b'{"kind": "resu', b'{"kind": "result", "number": 1}', b"\xff\xfe"])
def test_a_torn_line_is_passed_over_and_closed_off(tmp_path, torn):
    _journal(tmp_path, {"kind": "candidate", "number": 0, "candidate": {"a": 1}})
    path = tmp_path / "journal.jsonl"
    with path.open("ab") as file:
        file.write(torn)
    again = Journal(path)
    again.begin(HEADER)
    with again.locked():
        again.append([_result(0)])
    for journal in (again, Journal(path)):
        journal.refresh()
        assert set(journal.results) == {(0, "loss")}


def test_a_journal_of_something_else_is_a_sentence(tmp_path):
    journal = _journal(tmp_path)
    with pytest.raises(SearchError, match="its seed is 0, found 1"):
        Journal(journal.path).begin({**HEADER, "seed": 1})
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({"kind": "search", "format": 99}) + "\n")
    with pytest.raises(SearchError, match="has format 99"):
        Journal(other).refresh()
    other.write_text(json.dumps({"kind": "trial", "format": 1}) + "\n")
    with pytest.raises(SearchError, match="is no journal of a search"):
        Journal(other).refresh()
    with pytest.raises(SearchError, match="cannot be written"):
        Journal(tmp_path / "other.jsonl" / "journal.jsonl").begin(HEADER)


def _claim(driver, holds=60.0):
    return {"kind": "claim", "number": 0, "stage": "loss", "driver": driver, "holds": holds}


def test_a_claim_holds_while_its_driver_lives(tmp_path):
    program = (
        "import time; from secateur.compression.search.journal import driver_name;"
        "print(driver_name(), flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    # On its own machine a driver that lives holds its claims, however busy it was.
    journal = _journal(tmp_path, _claim(process.stdout.readline().strip(), holds=1e-3))
    time.sleep(0.01)
    assert set(journal.claims()) == {(0, "loss")}
    process.kill()
    process.wait()
    assert not journal.claims()


def test_a_claim_of_another_machine_or_an_earlier_process_ends(tmp_path):
    elsewhere = "elsewhere:1:1"
    journal = _journal(tmp_path, _claim(elsewhere, holds=1e-3))
    time.sleep(0.01)
    assert not journal.claims()
    with journal.locked():
        journal.append([_claim(elsewhere, holds=1e-3), {"kind": "alive", "driver": elsewhere, "holds": 9.0}])
    time.sleep(0.01)
    assert journal.claims()
    # Whoever opens the journal later counts from then on.
    fresh = Journal(tmp_path / "journal.jsonl")
    fresh.refresh()
    assert fresh.claims()
    with journal.locked():
        journal.append([_result(0)])
    assert not journal.claims()
    released = driver_name()
    journal = _journal(tmp_path / "released", _claim(released), {"kind": "alive", "driver": released, "holds": 0.0})
    assert not journal.claims()
    # This process, had it started at another time.
    again = _journal(tmp_path / "again", _claim(f"{socket.gethostname()}:{os.getpid()}:1"))
    assert not again.claims()


def test_time_counts_while_somebody_works(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(module.time, "time", lambda: now[0])
    journal = _journal(tmp_path)
    for number, gap in enumerate((5.0, 8.0, 5000.0, 2.0)):
        now[0] += gap
        with journal.locked():
            journal.append([_result(number)])
    assert journal.seconds == pytest.approx(15.0)
    assert journal.times[2, "loss"] == pytest.approx(13.0)


def test_clocks_need_not_agree(tmp_path, monkeypatch):
    real, now = time.time, [1000.0]
    ahead, behind = (Journal(tmp_path / "journal.jsonl") for _ in range(2))
    ahead.begin(HEADER)

    def write(journal, clock, line):
        monkeypatch.setattr(module.time, "time", lambda: now[0] + clock)
        with journal.locked():
            journal.append([line])
        monkeypatch.setattr(module.time, "time", real)

    write(ahead, 900.0, _claim("one:1:1"))
    write(behind, -900.0, {**_claim("other:1:1"), "number": 1})
    # Half an hour between their clocks: each holds what the other claimed.
    assert set(ahead.claims()) | {(1, "loss")} == set(behind.claims()) == {(0, "loss"), (1, "loss")}
    before = behind.seconds
    for number in range(2, 6):
        now[0] += 5.0
        write(behind if number % 2 else ahead, -900.0 if number % 2 else 900.0, _result(number))
    for number in range(6, 10):
        now[0] += 5.0
        write(behind, -900.0, _result(number))
    assert behind.seconds - before == pytest.approx(8 * 5.0)
    times = [json.loads(line)["time"] for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert times[1:] == sorted(times[1:])
