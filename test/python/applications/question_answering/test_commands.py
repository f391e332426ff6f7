"""`secateur qa` and `secateur serve` as a user types them."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

TEXT = "The old mill stands by the river. Its wheel was built in 1742 by Amos Field, a joiner. "
QUESTION = "Who built it?"


@pytest.fixture
def context(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text(TEXT)
    return file


def test_json_has_the_readers_answers(secateur, bundle, context, reader):
    code, out, _ = secateur("qa", bundle, "--context", context, "--question", QUESTION, "--n-best", 2, "--json")
    assert code == 0
    value, expected = json.loads(out), reader.answer(TEXT, QUESTION, 2)
    assert value["answers"] == [vars(a) for a in expected.answers]
    assert value["windows"] == expected.windows and value["window_tokens"] == 64


def test_the_answer_stands_in_its_sentence(secateur, bundle, context, reader):
    code, out, _ = secateur("qa", bundle, "--context", context, "--question", QUESTION)
    assert code == 0
    best = reader.answer(TEXT, QUESTION).answers[0]
    assert f"[{best.text}]" in " ".join(out.split())
    assert re.search(r"\d windows? of 64 tokens, [\d.]+ ms each", out)


def test_standard_input_and_a_byte_order_mark(secateur, bundle, context):
    arguments = ("--question", QUESTION, "--json", "--quiet")
    _, from_file, _ = secateur("qa", bundle, "--context", context, *arguments)
    code, piped, _ = secateur("qa", bundle, "--context", "-", *arguments, stdin=b"\xef\xbb\xbf" + TEXT.encode())
    assert code == 0
    assert json.loads(piped)["answers"] == json.loads(from_file)["answers"]


def test_a_text_cannot_command_the_terminal(secateur, bundle, tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("\x1b[31mred\x07 [bold]mill[/bold] \x9b2J 1742")
    code, out, _ = secateur("qa", bundle, "--context", file, "--question", QUESTION, "--n-best", 20)
    assert code == 0 and "mill" in out
    assert not set(out) & {"\x1b", "\x07", "\x9b"}


@pytest.mark.slow
def test_a_megabyte(secateur, bundle, tmp_path):
    file = tmp_path / "text.txt"
    file.write_text(TEXT * (1_000_000 // len(TEXT)))
    code, out, _ = secateur("qa", bundle, "--context", file, "--question", QUESTION, "--json", "-q", "--threads", 2)
    assert code == 0 and json.loads(out)["windows"] > 10_000


def test_bad_input_is_a_sentence(secateur, bundle, context, tmp_path):
    (tmp_path / "latin1.txt").write_bytes("Café".encode("latin-1"))
    (tmp_path / "empty.txt").write_bytes(b"")
    for file, question, code, sentence in (
        (tmp_path / "latin1.txt", QUESTION, 2, "is no text in UTF-8: byte 3 is 0xe9"),
        (tmp_path / "absent.txt", QUESTION, 2, "there is no file"),
        (tmp_path, QUESTION, 2, "is a folder; expected a file"),
        (tmp_path / "empty.txt", QUESTION, 1, "the text is empty"),
        (context, "", 2, "the question is empty"),
    ):
        found, out, err = secateur("qa", bundle, "--context", file, "--question", question, "--quiet")
        assert (found, out) == (code, ""), err
        assert sentence in err


def test_a_bundle_of_another_kind_is_refused(secateur, qa_module, context, tmp_path):
    encoder = qa_module.bert
    encoder.config.architectures = ["BertModel"]
    encoder.save_pretrained(tmp_path / "encoder")
    command = ["compile", tmp_path / "encoder", "-o", tmp_path / "b", "--seq-len", "64", "--verify", "off", "-q"]
    assert secateur(*command).code == 0
    code, _, err = secateur("qa", tmp_path / "b", "--context", context, "--question", QUESTION, "-q")
    assert code == 1
    assert "is no question-answering model: its outputs are last_hidden_state; expected start_logits" in err


class Served:
    """`secateur serve` in a process of its own, on a free port."""

    def __init__(self, *arguments):
        command = [sys.executable, "-m", "secateur.commands.app", "serve", *map(str, arguments), "--port", "0"]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.url = self.process.stdout.readline().strip()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(20), self.process.stderr.read()
        finally:
            self.process.kill()


def test_serving_on_all_addresses_warns_and_stops_cleanly(bundle):
    pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")
    served = Served(bundle, "--host", "0.0.0.0")
    try:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", served.url), served.process.stderr.read()
        body = json.dumps({"context": TEXT, "question": QUESTION}).encode()
        asked = urllib.request.Request(served.url + "api/answer", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=20) as found:
            assert json.load(found)["answers"]
            assert "server" not in found.headers
    finally:
        code, err = served.stop()
    assert code == 0
    assert "warning: whoever reaches 0.0.0.0" in err and err.rstrip().endswith("stopped")
    assert "Traceback" not in err


def test_a_taken_port_is_a_sentence(secateur, bundle):
    pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")
    import socket

    with socket.create_server(("127.0.0.1", 0)) as other:
        code, _, err = secateur("serve", bundle, "--port", other.getsockname()[1], "--quiet")
    assert code == 1 and "cannot listen on 127.0.0.1 port" in err


def test_without_the_extra_its_name_is_told(secateur, bundle, monkeypatch):
    for name in [n for n in sys.modules if n.startswith("secateur.applications.question_answering.server")]:
        monkeypatch.delitem(sys.modules, name)
    import secateur.applications.question_answering as package

    monkeypatch.delattr(package, "server", raising=False)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    code, _, err = secateur("serve", bundle, "--port", 0, "--quiet")
    assert code == 1 and "pip install 'secateur[serve]'" in err
