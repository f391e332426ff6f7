"""What shells, pipes and people do to a command: streams closed or full, readers gone, odd locales, plain terminals."""

import os
import pty
import signal
import subprocess
import sys
import time

import pytest

SECATEUR = [sys.executable, "-c", "import sys; from secateur.commands import main; sys.exit(main())"]
SPARSITY_OPT = [sys.executable, "-c", "import sys; from secateur.compiler.opt import main; sys.exit(main())"]


def shell(command, redirection, **options):
    """Runs a command with a shell's redirection."""
    words = [*command, redirection]
    line = '"$@" ' + words.pop()
    return subprocess.run(["sh", "-c", line, "sh", *map(str, words)], capture_output=True, text=True, **options)


@pytest.mark.parametrize(
    "command", [[*SECATEUR, "targets"], [*SECATEUR, "targets", "--json"], [*SECATEUR, "--version"],
                [*SPARSITY_OPT, "--list-passes"], [*SPARSITY_OPT, "--version"]],
    ids=lambda words: " ".join(words[3:]),
)  # fmt: skip
def test_output_that_is_closed_full_or_not_read(command):
    closed = shell(command, ">&-")
    assert (closed.returncode, closed.stderr) == (0, "")
    full = shell(command, "> /dev/full")
    assert full.returncode == 1
    assert "standard output cannot be written: No space left on device" in full.stderr and full.stderr.count("\n") == 1
    # The reader has gone before the first word.
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_other_streams_may_be_closed_too(bundle):
    quiet = shell([*SECATEUR, "profile", bundle, "--runs", "1"], "2>&-")
    assert quiet.returncode == 0 and "encoder.layer.0.output.dense" in quiet.stdout
    assert shell([*SECATEUR, "inspect", bundle / "nowhere"], "2>&-").returncode == 2
    assert shell([*SPARSITY_OPT, "-"], "<&-").stdout.startswith("module {")


@pytest.mark.parametrize("seconds", [0.0, 2.0])
def test_an_interrupt_is_one_line_and_leaves_nothing(dense_folder, tmp_path, seconds):
    command = [*SECATEUR, "compile", dense_folder, "-o", tmp_path / "out", "--seq-len", "16", "--no-cache"]
    process = subprocess.Popen([str(c) for c in command], stderr=subprocess.PIPE, text=True)
    told = ""
    # The first word of a stage: Python runs, and listens.
    while "loading" not in told:
        told = process.stderr.readline()
        assert told, "it ended by itself"
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[1].splitlines()
    assert process.returncode == 130
    assert rest[-1] == "interrupted" and "Traceback" not in "".join(rest)
    assert not list(tmp_path.iterdir())


def test_an_interrupt_while_python_loads_is_one_too(monkeypatch, capsys):
    import builtins

    from secateur import commands

    load = builtins.__import__

    def interrupted(name, *rest):
        if name == "app":
            raise KeyboardInterrupt
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", interrupted)
    assert commands.main(["targets"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_the_end_of_a_file_is_no_interrupt(secateur, monkeypatch):
    def ends(*arguments):
        raise EOFError("a file ended")

    monkeypatch.setattr("secateur.runtime_targets.targets.families", ends)
    result = secateur("targets")
    assert result.code == 1 and "a file ended" in result.err and "interrupted" not in result.err


# Commands, each with `then` behind it, one after the other: each process would load PyTorch anew.
SEVERAL = """
import sys
from secateur.commands import main
words = sys.argv[1:]
while words:
    end = words.index("then")
    sys.argv[1:], words = words[:end], words[end + 1 :]
    if code := main():
        sys.exit(code)
    print("-- done", flush=True)
"""
ODD = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_paths_in_any_alphabet_in_an_ascii_locale(dense_folder, tmp_path):
    """Python then holds the bytes as half characters, which no JSON and no terminal takes."""
    folder = tmp_path / "modèle ünd 名"
    folder.mkdir()
    for file in dense_folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())

    out, page, pruned = (tmp_path / name for name in ("bündlé 束 x.zip", "ü.html", "prûned x"))
    commands = [
        ["compile", folder, "-o", out, "--seq-len", "16", "--verify", "off"],
        ["inspect", out],
        ["profile", out, "--runs", "1", "--html", page],
        ["prune", folder, "--sparsity", "0.5", "-o", pruned],
    ]
    words = [str(word) for command in commands for word in (*command, "then")]
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL, *words], capture_output=True, text=True, env={**os.environ, **ODD}
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.split("-- done\n")
    assert len(printed) == len(commands) + 1
    assert out.is_file()
    assert r"mod\xe8le \xfcnd \u540d" in printed[1]
    assert "modèle ünd 名" in page.read_text(encoding="utf-8")
    assert (pruned / "config.json").is_file()


def on_a_terminal(command, **variables):
    """What a command writes on a terminal."""
    master, slave = pty.openpty()
    environment = {**os.environ, "NO_COLOR": "", "TERM": "xterm-256color", **variables}
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    written = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        written += part
    os.close(master)
    assert process.wait() == 0, written
    return written


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {}], ids=str)
def test_plain_terminals_get_plain_text(bundle, variables):
    written = on_a_terminal([*SECATEUR, "profile", str(bundle), "--runs", "1"], **variables)
    assert b"roofline" in written
    assert (b"\x1b" in written) == (not variables)
