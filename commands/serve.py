"""`secateur serve`: a web page and a JSON endpoint that answer questions with a bundle."""

import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from .early_checks import check_bundle
from .output import Debug, Output, Quiet

EXAMPLE = "Example: secateur serve qa-70.bundle --compare qa-dense.bundle"


def command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle of a question-answering model.")],
    compare: Annotated[
        Path | None,
        typer.Option(
            metavar="DENSE_BUNDLE", rich_help_panel="Answers", help="A second one, to show the latency of both."
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            rich_help_panel="Address",
            help="Address to listen on. By default only this machine can ask.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", rich_help_panel="Address", help="Port; 0 takes a free one.")
    ] = 8000,
    sessions: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            rich_help_panel="Answers",
            help="Windows to read at a time, each on a core (default: one per core).",
        ),
    ] = None,
    queue: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", rich_help_panel="Limits", help="Questions that may be unfinished; more are sent away."
        ),
    ] = 32,
    max_context: Annotated[
        int,
        typer.Option(
            min=1,
            max=10_000_000,
            metavar="CHARACTERS",
            rich_help_panel="Limits",
            help="Characters of the longest text that is accepted.",
        ),
    ] = 200_000,
    time_limit: Annotated[
        float,
        typer.Option(
            min=1, metavar="SECONDS", rich_help_panel="Limits", help="Seconds after which a question is given up."
        ),
    ] = 60.0,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel="Address",
            help="A name under which others reach this machine (may be repeated).",
        ),
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Serve a page for questions about a text, and POST /api/answer for programs (GET /openapi.json). Ctrl-C stops."""
    check_bundle(bundle)
    if compare is not None:
        check_bundle(compare, "--compare")
    if not 1 <= time_limit < float("inf"):
        raise typer.BadParameter(f"expected seconds from 1 on, found {time_limit:g}", param_hint="--time-limit")
    output = Output(False, quiet)
    with output.progress(f"serving {bundle}") as progress:
        progress("loading")
        from secateur.applications.question_answering.errors import AnswerError

        try:
            from secateur.applications.question_answering import guards, server
        except ImportError as error:
            text = f"serving needs the package '{error.name}': pip install 'secateur[serve]'"
            raise AnswerError(text) from None
        from secateur.applications.question_answering.answer import Reader

        listening = server.listen(host, port)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        reader = Reader(bundle, compare, sessions=sessions or cores, capacity=queue)
    names = ("localhost", host, socket.gethostname(), *(allow_host or ()))
    limits = server.Limits(queue, max_context, time_limit, tuple(name.strip("[]") for name in names))
    app = server.create_app(reader, limits)
    taken = listening.getsockname()[1]
    if not guards.is_loopback(host):
        output.note(
            f"warning: whoever reaches {host} port {taken} over the network can ask; there is no password and no "
            "encryption"
        )
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    # On standard output, for programs that start this one with --port 0.
    typer.echo(f"http://{f'[{shown}]' if ':' in shown else shown}:{taken}/")
    output.note(f"answers {reader.sessions} window(s) at a time; Ctrl-C stops")
    try:
        server.serve(app, listening)
    finally:
        reader.close()
        output.note("stopped")
