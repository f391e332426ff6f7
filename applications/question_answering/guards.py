"""What stands before the server's endpoints: whom a request is for, how large it may be, what browsers may do."""

import asyncio
import ipaddress
import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_BODY_SECONDS = 20.0


class HostGuard:
    """Refuses requests whose Host names neither an address nor one of `names`.

    A page of another site can let its own name resolve to this machine (DNS rebinding) and then read what the server
    answers; its requests carry that name. An address as a Host cannot be had that way.
    """

    def __init__(self, app: Application, names: Collection[str]) -> None:
        self._app = app
        self._names = {name.lower() for name in names}

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Passes the request on, or answers 421."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        host = host_name(hosts[0].decode("latin-1")) if len(hosts) == 1 else None
        if host is None or not (host in self._names or is_address(host)):
            text = "this server answers under its address and the names it was started with (--allow-host NAME) only"
            return await refuse(send, 421, text)
        await self._app(scope, receive, send)


class BodyLimit:
    """Refuses bodies of more than `limit` bytes, before they are read where the request tells their length, else as
    soon as they have passed it; bodies that take too long; and bodies that are no JSON by their own word (a form of
    another site cannot send that)."""

    def __init__(self, app: Application, limit: int, seconds: float = _BODY_SECONDS) -> None:
        self._app, self._limit, self._seconds = app, limit, seconds

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Passes the request on with its whole body, or answers 400, 408, 413 or 415."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            return await self._app(scope, receive, send)
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            return await refuse(send, 400, "the Content-Length is no number")
        too_large = f"the request is larger than {self._limit} bytes, which is what this server accepts"
        if int(length) > self._limit:
            return await refuse(send, 413, too_large)
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if kind != b"application/json":
            return await refuse(send, 415, "expected a body of type application/json")
        body = bytearray()
        try:
            async with asyncio.timeout(self._seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > self._limit:
                        return await refuse(send, 413, too_large)
        except TimeoutError:
            return await refuse(send, 408, f"the request did not arrive within {self._seconds:g} s")
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, replay, send)


class SecurityHeaders:
    """Adds `headers` to every response."""

    def __init__(self, app: Application, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Passes the request on."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                added = [(n, v) for n, v in self._headers if n not in present]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await self._app(scope, receive, with_headers)


async def refuse(send: Send, status: int, detail: str) -> None:
    """Answers in the words of the other errors, and closes the connection: there may be a body that nobody reads."""
    body = json.dumps({"detail": detail}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def host_name(host: str) -> str | None:
    """The name or address in a Host header, without the port and the brackets; None where it is neither."""
    name = host.strip().lower()
    if name.startswith("["):
        name, bracket, port = name[1:].partition("]")
        return name if bracket and (not port or port[:1] == ":") else None
    name, _, port = name.partition(":")
    return name.removesuffix(".") if name and (not port or port.isdigit()) else None


def is_address(name: str) -> bool:
    """Whether it is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`."""
    return host in LOOPBACK_NAMES or (is_address(host) and ipaddress.ip_address(host).is_loopback)
