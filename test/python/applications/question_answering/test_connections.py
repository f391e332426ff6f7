"""Clients that hold connections, with raw sockets: none of them keeps others out for long."""

import socket
import threading
import time

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")

from secateur.applications.question_answering.connections import ConnectionLimits, client_of, server_of

LIMITS = ConnectionLimits(all=8, of_client=3, header_seconds=0.6, keep_alive_seconds=0.4, stalled_seconds=0.5)
REQUEST = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
LARGE = 50_000_000


async def app(scope, receive, send):
    """Answers `/` with a word after what the query says in milliseconds, `/large` with more than a socket holds."""
    if scope["type"] == "lifespan":
        assert (await receive())["type"] == "lifespan.startup"
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        return await send({"type": "lifespan.shutdown.complete"})
    import asyncio

    await asyncio.sleep(int(scope["query_string"] or 0) / 1000)
    size = LARGE if scope["path"] == "/large" else 1
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
    await send({"type": "http.response.body", "body": b"x" * size})


@pytest.fixture
def address():
    listening = socket.create_server(("127.0.0.1", 0))
    server = server_of(app, LIMITS)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield listening.getsockname()
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()
        listening.close()


def connect(address, source="127.0.0.1"):
    connection = socket.create_connection(address, timeout=10, source_address=(source, 0))
    connection.settimeout(10)
    return connection


def status(connection, request=REQUEST):
    connection.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer or answer.endswith(b"\r\n\r\n"):
        answer += connection.recv(4096)
    return int(answer.split()[1])


def seconds_until_closed(connection):
    began = time.monotonic()
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return time.monotonic() - began


def trickle(connection, words=b"GET / HTTP/1.1\r\n" + b"x-slow: y\r\n" * 100):
    """A byte now and then, until the server has enough; seconds."""
    began = time.monotonic()
    try:
        for byte in words:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)
    except ConnectionError:
        return time.monotonic() - began
    pytest.fail("the server took everything")


def test_a_connection_that_says_nothing_is_closed(address):
    assert seconds_until_closed(connect(address)) < 5


def test_headers_that_trickle_in_are_given_up(address):
    assert trickle(connect(address)) < 5


def test_a_second_request_that_trickles_in_is_given_up_too(address):
    connection = connect(address)
    assert status(connection) == 200
    assert trickle(connection) < 5


def test_an_idle_connection_is_closed_and_one_in_use_is_not(address):
    used, idle = connect(address), connect(address)
    assert status(idle) == 200
    for _ in range(6):
        assert status(used) == 200
        time.sleep(0.2)
    assert seconds_until_closed(idle) < 0.1
    assert status(used) == 200


def test_an_answer_may_take_longer_than_headers(address):
    assert status(connect(address), b"GET /?1500 HTTP/1.1\r\nhost: localhost\r\n\r\n") == 200


def test_a_client_that_does_not_read_is_left(address):
    connection = connect(address)
    connection.sendall(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n")
    time.sleep(2.5)
    taken = 0
    try:
        while part := connection.recv(1 << 20):
            taken += len(part)
    except ConnectionError:
        pass
    assert taken < LARGE


def test_one_client_has_so_many_connections_and_others_have_theirs(address):
    held = [connect(address) for _ in range(LIMITS.of_client)]
    refused = connect(address)
    answer = refused.recv(4096)
    assert answer.startswith(b"HTTP/1.1 503") and b"3 connections at most" in answer
    assert seconds_until_closed(refused) < 5
    assert status(connect(address, "127.0.0.2")) == 200
    held.pop().close()
    deadline = time.monotonic() + 5
    while True:
        again = connect(address)
        again.sendall(REQUEST)
        if again.recv(4096).startswith(b"HTTP/1.1 200"):
            break
        assert time.monotonic() < deadline


def test_many_clients_that_hold_all_connections_hold_them_for_seconds(address):
    held = [connect(address, f"127.0.0.{2 + i // LIMITS.of_client}") for i in range(LIMITS.all)]
    for connection in held:
        connection.sendall(b"GET / HTTP/1.1\r\nx:")
    assert status(connect(address)) == 503
    time.sleep(LIMITS.header_seconds + 0.5)
    assert status(connect(address)) == 200


def test_clients():
    assert client_of(("10.0.0.1", 5)) == "10.0.0.1" and client_of(None) == ""
    assert client_of(("2001:db8::1", 5)) == client_of(("2001:db8::ffff:1", 5)) != client_of(("2001:db8:0:1::1", 5))
    assert client_of(("::ffff:10.0.0.1", 5)) == "10.0.0.1"
