"""Records: added to under a lock, whole or passed over, and never applied to another machine or other tools."""

import json
import random
import signal
import subprocess
import sys
import time

import pytest

from secateur.compiler.records.errors import TuneError
from secateur.compiler.records.records import RecordsFile, line_of, machine_of, merge_lines, new_record, timing_lock
from secateur.passes.scheduled import schedule_records
from secateur.runtime_targets.targets import get_target

OP = {"name": "sparsity.linear", "rows": 8}


def record(machine, number=0, kind="chosen", op=OP, **values):
    return new_record(kind, machine, op, "#sparsity.target<{}>", schedule={"row_tile": 1 + number}, **values)


@pytest.fixture
def records(target):
    return RecordsFile.of(target)


def test_what_was_added_is_read_in_order(records):
    records.add([record(records.machine, n) for n in range(3)])
    records.add([record(records.machine, 3, kind="trial")])
    assert [r["schedule"]["row_tile"] for r in records.read()] == [1, 2, 3, 4]
    (chosen,) = records.chosen().values()
    assert chosen["schedule"] == {"row_tile": 3}


def test_targets_have_files_of_their_own(target):
    other = get_target("host-cpu", workers=2)
    assert machine_of(target) != machine_of(other)
    RecordsFile.of(target).add([record(machine_of(target))])
    assert list(RecordsFile.of(other).read()) == []


def test_a_record_of_another_machine_in_the_file_is_not_read(records):
    records.add([record("host-cpu-ffffffffffff")])
    assert list(records.read()) == []


def test_records_of_other_tools_are_kept_and_not_used(records, monkeypatch):
    with monkeypatch.context() as patch:
        tools = {**schedule_records.code_generator(), "iree-base-compiler": "3.12.0"}
        patch.setattr("secateur.compiler.records.records.code_generator", lambda: tools)
        records.add([record(records.machine)])
    assert len(list(records.read())) == 1
    assert records.usable() == [] and records.chosen() == {}


@pytest.mark.parametrize("field", ["op", "target", "tools", "key", "format", "kind"])
def test_an_altered_record_is_passed_over(records, field):
    line = json.loads(line_of(record(records.machine)))
    line[field] = {"rows": 9} if isinstance(line[field], dict) else 7
    records.path.parent.mkdir(parents=True)
    records.path.write_bytes(json.dumps(line).encode() + b"\n" + line_of(record(records.machine, 5)))
    assert [r["schedule"]["row_tile"] for r in records.read()] == [6]


@pytest.mark.parametrize("junk", [b"", b"{", b"null", b"[]", b"{}", b"\xff\xfe", b'{"format": 1}', b"[" * 100000])
def test_lines_that_are_no_records_are_passed_over(records, junk):
    records.path.parent.mkdir(parents=True)
    records.path.write_bytes(junk + b"\n" + line_of(record(records.machine)))
    assert len(list(records.read())) == 1


def test_a_line_cut_off_anywhere_costs_that_line_alone(records):
    records.add([record(records.machine, 0)])
    whole, line = records.path.read_bytes(), line_of(record(records.machine, 1))
    for cut in range(0, len(line), 37):
        records.path.write_bytes(whole + line[:cut])
        records.add([record(records.machine, 2)])
        assert [r["schedule"]["row_tile"] for r in records.read()] == [1, 3]


def test_merging_adds_what_is_new_once_and_to_the_file_of_its_machine(records, records_folder):
    records.add([record(records.machine, 0)])
    others = [record(records.machine, 0), record(records.machine, 1), record("phone-0123456789ab", 2)]
    data = b"".join(map(line_of, others)) + b'{"torn'
    assert merge_lines(data) == {records.machine: 1, "phone-0123456789ab": 1}
    assert merge_lines(data) == {records.machine: 0, "phone-0123456789ab": 0}
    assert len(list(records.read())) == 2
    assert len(list(RecordsFile(records_folder / "phone-0123456789ab.jsonl").read())) == 1


@pytest.mark.parametrize("name", ["../escape", "a/b", "", ".hidden", "x" * 200, 5, None])
def test_a_machine_that_is_no_name_becomes_no_file(name, tmp_path, records_folder):
    assert merge_lines(line_of({**record("m"), "machine": name})) == {}
    assert not list(tmp_path.rglob("*.jsonl"))


def test_a_folder_that_cannot_be_written_is_an_error_with_its_name(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TuneError, match=r"records '.*file/x.jsonl' cannot be written"):
        RecordsFile(tmp_path / "file" / "x.jsonl").add([record("x")])


WRITER = """
import sys
from pathlib import Path
from secateur.compiler.records.records import RecordsFile, new_record
file = RecordsFile(Path(sys.argv[1]))
op = {"name": "x" * 3000}
for n in range(100000):
    file.add([new_record("trial", file.machine, op, "t", schedule={"n": n}, writer=sys.argv[2])])
    print(n, flush=True)
"""


def test_writers_that_are_killed_lose_no_record_that_was_written(tmp_path):
    path = tmp_path / "m.jsonl"
    choose = random.Random(0)
    said = {}
    for turn in range(3):
        names = [f"{turn}a", f"{turn}b"]
        writers = {
            n: subprocess.Popen([sys.executable, "-c", WRITER, str(path), n], stdout=subprocess.PIPE) for n in names
        }
        for name, writer in writers.items():
            writer.stdout.readline()
            said[name] = 0
        for name, writer in writers.items():
            time.sleep(choose.uniform(0.0, 0.2))
            writer.send_signal(signal.SIGKILL)
            lines = writer.stdout.read().split()
            said[name] = int(lines[-1]) if lines else 0
            writer.wait()
    found = list(RecordsFile(path).read())
    for name, last in said.items():
        numbers = [r["schedule"]["n"] for r in found if r["writer"] == name]
        assert numbers[: last + 1] == list(range(last + 1)), name
        # The one in the making may have been written before it was told.
        assert len(numbers) <= last + 2
    RecordsFile(path).add([new_record("trial", "m", {"name": "y"}, "t", schedule={})])
    assert len(list(RecordsFile(path).read())) == len(found) + 1


HOLDER = """
import sys, time
from secateur.compiler.records.records import timing_lock
with timing_lock():
    print("held", flush=True)
    time.sleep(100)
"""


def test_the_timing_lock_is_one_for_all_and_free_when_its_holder_is_killed(records_folder):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    waiter = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE)
    time.sleep(1.5)
    assert waiter.poll() is None
    holder.kill()
    holder.wait()
    assert waiter.stdout.readline() == b"held\n"
    waiter.kill()
    waiter.wait()
    with timing_lock():
        pass
