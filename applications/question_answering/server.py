"""The web page and its JSON endpoints. All of it is made of this package's own files: it works without a network."""

import asyncio
import base64
import contextlib
import dataclasses
import hashlib
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from .answer import Pending, Reader
from .connections import ConnectionLimits, server_of
from .errors import AnswerError, BusyError, TimeLimitError
from .guards import BodyLimit, HostGuard, SecurityHeaders
from .schema import LONGEST_QUESTION, AnswerRequest, AnswerResponse, Fault, Health, ModelItem

HERE = Path(__file__).resolve().parent
EXAMPLE_TEXT = HERE / "texts" / "apollo-11.txt"

# A character of JSON has at most 12 bytes: an escaped pair of surrogates.
_BYTES_PER_CHARACTER = 12
_REST_OF_REQUEST = 16_384
_GONE_SECONDS = 0.25


@dataclasses.dataclass(frozen=True)
class Limits:
    """`capacity`: questions that are unfinished at a time; `names`: accepted as Host, beside addresses."""

    capacity: int = 32
    context_characters: int = 200_000
    time_limit_seconds: float = 60.0
    names: tuple[str, ...] = ("localhost",)

    @property
    def body_bytes(self) -> int:
        """The largest request."""
        return self.context_characters * _BYTES_PER_CHARACTER + _REST_OF_REQUEST


def create_app(reader: Reader, limits: Limits = Limits()) -> FastAPI:
    """The application around a reader, which it closes at the end."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(reader.close)

    app = FastAPI(
        title="Secateur question answering",
        description="Answers questions with a compiled model, out of a text that comes with the question. The model "
        "was made for questions that the text answers: it always names a piece of the text.",
        version="1",
        lifespan=lifespan,
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    page = (HERE / "page.html").read_text(encoding="utf-8")
    example = EXAMPLE_TEXT.read_text(encoding="utf-8")
    faults: dict[int | str, dict[str, Any]] = {
        status: {"model": Fault, "description": words}
        for status, words in (
            (408, "The request did not arrive in time."),
            (413, "The request is larger than the server accepts."),
            (415, "The body is not JSON."),
            (422, "A field is missing, too long or not what it must be."),
            (503, "Too many questions wait; the header Retry-After tells for how many seconds."),
            (504, "The answer took longer than it may."),
        )
    }

    @app.post("/api/answer", responses=faults, response_model=AnswerResponse, summary="Answer a question about a text")
    async def answer(asked: AnswerRequest, request: Request) -> Any:
        if len(asked.context) > limits.context_characters:
            text = f"the text has {len(asked.context)} characters; accepted are up to {limits.context_characters}"
            raise AnswerError(text)
        pending = reader.submit(
            asked.context,
            asked.question,
            asked.n_best,
            compare=asked.compare,
            time_limit_seconds=limits.time_limit_seconds,
        )
        if not await _finished(pending, request):
            return Response(status_code=499)
        answers = await asyncio.to_thread(pending.result)
        return AnswerResponse.of_answers(reader.model, reader.compared, answers)

    @app.get("/api/health", response_model=Health, summary="The server's models, limits and load")
    async def health() -> Health:
        return Health(
            status="ok",
            model=ModelItem.of(reader.model),
            compared=ModelItem.of(reader.compared) if reader.compared else None,
            sessions=reader.sessions,
            unfinished=reader.unfinished,
            capacity=limits.capacity,
            max_context_characters=limits.context_characters,
            max_question_characters=LONGEST_QUESTION,
            time_limit_seconds=limits.time_limit_seconds,
        )

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": page_policy(page)})

    @app.get("/example.txt", response_class=PlainTextResponse, include_in_schema=False)
    async def example_text() -> PlainTextResponse:
        return PlainTextResponse(example)

    _add_faults(app)
    # The last one is the outermost.
    app.add_middleware(BodyLimit, limit=limits.body_bytes)
    app.add_middleware(HostGuard, names=limits.names)
    app.add_middleware(SecurityHeaders, headers=_HEADERS)
    return app


_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def page_policy(page: str) -> str:
    """A policy under which nothing runs but the page's own script and style, by their hashes."""

    def hashes(tag: str) -> str:
        parts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts]
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    return (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


async def _finished(pending: Pending, request: Request) -> bool:
    """Waits for the answers; False where whoever asked has gone, whose question is then dropped."""
    done = asyncio.wrap_future(pending.job.done)
    while True:
        await asyncio.wait({done}, timeout=_GONE_SECONDS)
        if done.done():
            if done.cancelled():
                raise BusyError(1)
            done.result()
            return True
        if await request.is_disconnected():
            pending.job.cancel()
            return False


def _add_faults(app: FastAPI) -> None:
    """Every error is a sentence in `detail`."""

    def said(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"detail": text}, status, headers=headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part != "body")
        return said(422, f"the request is wrong at '{place}': {first['msg']}" if place else str(first["msg"]))

    @app.exception_handler(AnswerError)
    async def refused(request: Request, error: AnswerError) -> JSONResponse:
        return said(422, str(error))

    @app.exception_handler(BusyError)
    async def busy(request: Request, error: BusyError) -> JSONResponse:
        return said(503, str(error), {"Retry-After": str(error.retry_after_seconds)})

    @app.exception_handler(TimeLimitError)
    async def too_long(request: Request, error: TimeLimitError) -> JSONResponse:
        return said(504, str(error))

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> JSONResponse:
        return said(error.status_code, str(error.detail), dict(error.headers or {}))


def listen(host: str, port: int) -> socket.socket:
    """A socket on which the server listens; port 0: any that is free. Raises `AnswerError` where it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=ConnectionLimits().all)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AnswerError(
            f"cannot listen on {host} port {port}: {reason}; name others with --host and --port"
        ) from None


def serve(app: FastAPI, listening: socket.socket) -> None:
    """Serves until the process is interrupted; requests that are being answered then have three seconds."""
    with contextlib.suppress(KeyboardInterrupt):
        server_of(app).run(sockets=[listening])
