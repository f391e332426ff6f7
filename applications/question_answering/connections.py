"""Connections of the server: nobody holds one without asking something, and nobody holds them all.

uvicorn closes a connection that is idle after a response. It waits for ever for a request's first lines (as slow
clients of the kind "slowloris" send them), for a connection that says nothing, and for a client that does not read.
"""

import asyncio
import dataclasses
import functools
import ipaddress
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

_REFUSED = (
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-type: application/json\r\n"
    b"retry-after: 1\r\ncontent-length: %d\r\n\r\n%s"
)


@dataclasses.dataclass(frozen=True)
class ConnectionLimits:
    """`all` connections, and those `of_client` (an address, or a network of 64 bits in IPv6). Seconds until a request
    has told all its headers, until the next one begins, and in which a client reads something of an answer."""

    all: int = 256
    of_client: int = 64
    header_seconds: float = 10.0
    keep_alive_seconds: float = 10.0
    stalled_seconds: float = 20.0


class GuardedConnection(H11Protocol):
    """A connection within limits."""

    def __init__(self, limits: ConnectionLimits, **options: Any) -> None:
        super().__init__(**options)
        self._limits = limits
        self._waiting: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuses one connection too many of a client; else waits for its headers."""
        super().connection_made(transport)
        client = client_of(self.client)
        if sum(client_of(other.client) == client for other in self.connections) > self._limits.of_client:
            detail = b'{"detail": "one client has %d connections at most"}' % self._limits.of_client
            transport.write(_REFUSED % (len(detail), detail))
            transport.close()
            return
        self._wait()

    def data_received(self, data: bytes) -> None:
        """A request's headers end the waiting; a part of them does not."""
        if self.transport.is_closing():
            return
        if self._answered():
            self._wait()
        super().data_received(data)
        if not self._answered():
            self._waiting = _cancelled(self._waiting)

    def pause_writing(self) -> None:
        """The client does not read: it has some time to begin."""
        super().pause_writing()
        self._stalled = self._stalled or self.loop.call_later(self._limits.stalled_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads."""
        super().resume_writing()
        self._stalled = _cancelled(self._stalled)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for."""
        self._waiting, self._stalled = _cancelled(self._waiting), _cancelled(self._stalled)
        super().connection_lost(exc)

    def _answered(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _wait(self) -> None:
        self._waiting = self._waiting or self.loop.call_later(self._limits.header_seconds, self.transport.abort)


def client_of(address: tuple[str, int] | None) -> str:
    """Who is counted as one client: an address, or its network of 64 bits, for one customer has all of those."""
    host = address[0] if address else ""
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(found, ipaddress.IPv4Address):
        return host
    return str(found.ipv4_mapped or ipaddress.ip_network((int(found) >> 64 << 64, 64)))


def _cancelled(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def server_of(app: Any, limits: ConnectionLimits = ConnectionLimits()) -> uvicorn.Server:
    """A server of `app` that has not begun. When it is stopped, requests that are being answered have three seconds."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        http=functools.partial(GuardedConnection, limits),  # type: ignore[arg-type]
        limit_concurrency=limits.all,
        timeout_keep_alive=limits.keep_alive_seconds,  # type: ignore[arg-type]
        timeout_graceful_shutdown=3,
        ws="none",
    )
    return uvicorn.Server(config)
