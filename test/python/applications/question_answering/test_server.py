"""The server's endpoints: answers, limits, refusals, and what browsers are told."""

import asyncio
import re
import threading

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("httpx", reason="the extra 'serve' is not installed")

import httpx

from secateur.applications.question_answering import server
from secateur.applications.question_answering.guards import host_name, is_loopback

TEXT = "The old mill stands by the river. Its wheel was built in 1742 by Amos Field, a joiner. "
ASKED = {"context": TEXT, "question": "Who built it?"}
LIMITS = server.Limits(capacity=4, context_characters=5000, time_limit_seconds=20)


@pytest.fixture(scope="module")
def app(reader):
    return server.create_app(reader, LIMITS)


def request(app, method, path, *, host="127.0.0.1:8000", **options):
    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await client.request(method, path, **options)

    return asyncio.run(ask())


def test_an_answer_is_the_readers(app, reader):
    found = request(app, "POST", "/api/answer", json={**ASKED, "n_best": 5, "compare": True})
    assert found.status_code == 200, found.text
    value, expected = found.json(), reader.answer(TEXT, "Who built it?", 5, compare=True)
    assert value["answers"] == [vars(a) for a in expected.answers]
    assert value["compared"]["answers"] == [vars(a) for a in expected.compared.answers]
    assert value["windows"] == expected.windows and value["ms_per_window"] > 0
    assert value["model"]["sparsity_fraction"] < 0.1 < 0.4 < value["compared"]["model"]["sparsity_fraction"]
    assert value["times_faster"] == pytest.approx(value["compared"]["ms_per_window"] / value["ms_per_window"])


def test_health_tells_models_and_limits(app):
    value = request(app, "GET", "/api/health").json()
    assert value["status"] == "ok" and value["sessions"] == 2 and value["unfinished"] == 0
    assert value["max_context_characters"] == 5000 and value["capacity"] == 4
    assert value["model"]["window_tokens"] == 64 and value["compared"] is not None


def test_the_description_has_every_answer_with_examples(app):
    value = request(app, "GET", "/openapi.json").json()
    answer = value["paths"]["/api/answer"]["post"]
    assert {"200", "413", "415", "422", "503", "504"} <= set(answer["responses"])
    schemas = value["components"]["schemas"]
    assert schemas["AnswerRequest"]["examples"][0]["question"]
    assert "SQuAD v1.1" in schemas["AnswerItem"]["properties"]["probability"]["description"]
    # The example of the description is a request that works.
    example = schemas["AnswerRequest"]["examples"][0]
    assert request(app, "POST", "/api/answer", json=example).status_code == 200
    assert "/" not in value["paths"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({**ASKED, "question": " "}, "the question is empty"),
        ({**ASKED, "context": ""}, "the text is empty"),
        ({"context": TEXT}, "wrong at 'question': Field required"),
        ({**ASKED, "n_best": 0}, "wrong at 'n_best'"),
        ({**ASKED, "other": 1}, "wrong at 'other'"),
        ({**ASKED, "question": "x" * 501}, "wrong at 'question'.*500"),
        ({**ASKED, "question": "abcdef " * 20}, "the question has 120 tokens"),
        ({**ASKED, "context": "x" * 5001}, "the text has 5001 characters; accepted are up to 5000"),
    ],
)
def test_bad_requests_are_a_sentence(app, body, sentence):
    found = request(app, "POST", "/api/answer", json=body)
    assert found.status_code == 422
    assert re.search(sentence, found.json()["detail"])


@pytest.mark.parametrize("content", [b"{", b'{"context": "\\ud800", "question": "a?"}', b"\xff", b"[" * 5000])
def test_what_is_no_json_is_refused(app, content):
    found = request(app, "POST", "/api/answer", content=content, headers={"Content-Type": "application/json"})
    assert found.status_code in (400, 422)
    assert found.json()["detail"]


def test_a_form_of_another_site_is_refused(app):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        found = request(app, "POST", "/api/answer", content=b"{}", headers={"Content-Type": kind})
        assert found.status_code == 415, kind


def raw(app, headers, receive):
    """Status of a POST whose body comes from `receive`."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/api/answer", "raw_path": b"/api/answer", "query_string": b"", "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000), "headers": [(b"host", b"127.0.0.1"), *headers],
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"]


JSON_TYPE = (b"content-type", b"application/json")


def test_a_large_request_is_refused_before_it_is_read(app):
    async def receive():
        raise AssertionError("the body was read")

    length = (b"content-length", str(LIMITS.body_bytes + 1).encode())
    assert raw(app, [JSON_TYPE, length], receive) == 413


def test_a_large_request_of_unknown_length_is_refused_as_soon_as_it_is_too_large(app):
    taken = []

    async def receive():
        taken.append(1)
        return {"type": "http.request", "body": b" " * 10_000, "more_body": True}

    assert raw(app, [JSON_TYPE, (b"transfer-encoding", b"chunked")], receive) == 413
    assert len(taken) == LIMITS.body_bytes // 10_000 + 1


def test_a_request_that_never_ends_is_refused(reader):
    from secateur.applications.question_answering.guards import BodyLimit

    async def receive():
        await asyncio.sleep(60)

    limited = BodyLimit(None, limit=100, seconds=0.05)
    assert raw(limited, [JSON_TYPE], receive) == 408


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost:8000", 200),
        ("LOCALHOST", 200),
        ("[::1]:8000", 200),
        ("192.168.1.5:8000", 200),
        ("evil.example", 421),
        ("evil.example:8000", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
    ],
)
def test_only_addresses_and_known_names_are_served(app, host, status):
    for path in ("/", "/api/health", "/openapi.json"):
        assert request(app, "GET", path, host=host).status_code == status


def test_hosts():
    assert host_name("[::1]:80") == "::1"
    assert host_name("[::1]evil") is None and host_name("a:b") is None and host_name("") is None
    assert is_loopback("127.0.0.5") and is_loopback("::1") and not is_loopback("0.0.0.0")


def test_other_sites_cannot_read_answers(app):
    found = request(app, "POST", "/api/answer", json=ASKED, headers={"Origin": "http://evil.example"})
    assert not any(name.startswith("access-control") for name in found.headers)
    preflight = request(app, "OPTIONS", "/api/answer", headers={"Origin": "http://evil.example",
                        "Access-Control-Request-Method": "POST"})  # fmt: skip
    assert preflight.status_code >= 400 and not any(n.startswith("access-control") for n in preflight.headers)


def test_the_page_loads_nothing_from_elsewhere_and_allows_nothing_but_its_own_code(app):
    found = request(app, "GET", "/")
    policy = found.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and policy.count("sha256-") == 2
    assert not re.search(r"(https?:)?//[\w.]", found.text)
    assert not re.search(r"\son\w+=|\sstyle=|innerHTML|insertAdjacentHTML|document\.write|eval\(", found.text)
    for path in ("/api/health", "/nothing"):
        headers = request(app, "GET", path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")


def test_a_full_queue_sends_away_with_a_time_and_recovers(app, reader):
    event = threading.Event()
    jobs = [reader._pool.submit(lambda session: event.wait(20) and None) for _ in range(4)]
    try:
        found = request(app, "POST", "/api/answer", json=ASKED)
        assert found.status_code == 503
        assert int(found.headers["retry-after"]) >= 1
        assert "too many questions" in found.json()["detail"]
        assert request(app, "GET", "/api/health").json()["unfinished"] == 4
    finally:
        event.set()
    for job in jobs:
        job.done.result(20)
    assert request(app, "POST", "/api/answer", json=ASKED).status_code == 200


def test_the_event_loop_is_free_while_answers_are_looked_for(app, reader):
    """Health answers at once though every session is busy."""
    event = threading.Event()
    jobs = [reader._pool.submit(lambda session: event.wait(20) and None) for _ in range(2)]

    async def both():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            asked = asyncio.create_task(client.post("/api/answer", json=ASKED))
            await asyncio.sleep(0.1)
            health = await client.get("/api/health")
            waited = not asked.done()
            event.set()
            return health, waited, await asked

    health, waited, answer = asyncio.run(both())
    assert health.json()["unfinished"] == 3 and waited
    assert answer.status_code == 200
    for job in jobs:
        job.done.result(20)


def test_many_at_once_get_the_answer_of_one(reader):
    app = server.create_app(reader, LIMITS)
    alone = request(app, "POST", "/api/answer", json=ASKED).json()["answers"]

    async def many():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await asyncio.gather(*(client.post("/api/answer", json=ASKED) for _ in range(4)))

    assert [found.json()["answers"] for found in asyncio.run(many())] == [alone] * 4


def test_a_question_is_dropped_when_whoever_asked_has_gone(app, reader):
    event = threading.Event()
    jobs = [reader._pool.submit(lambda session: event.wait(20) and None) for _ in range(2)]
    import json

    messages = [
        {"type": "http.request", "body": json.dumps(ASKED).encode(), "more_body": False},
        {"type": "http.disconnect"},
    ]

    async def receive():
        return messages.pop(0) if len(messages) > 1 else messages[0]

    try:
        assert raw(app, [JSON_TYPE], receive) == 499
        assert reader.unfinished == 2
    finally:
        event.set()
    for job in jobs:
        job.done.result(20)


def test_a_question_ends_at_its_time_limit(reader):
    app = server.create_app(reader, server.Limits(context_characters=5000, time_limit_seconds=0))
    found = request(app, "POST", "/api/answer", json=ASKED)
    assert found.status_code == 504 and "took longer" in found.json()["detail"]
