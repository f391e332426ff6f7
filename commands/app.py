"""The command line's root: its commands, its errors and its exit codes."""

import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated, Any

import typer

from secateur.dialects.errors import SecateurError
from secateur.dialects.standard_streams import open_streams, writing_output

from . import bench, compile, deploy, eval, finetune, inspect, profile, prune, qa, run, search, serve, targets, tune
from .grouped_help import GroupedCommand

app = typer.Typer(
    name="secateur",
    help="Compiles pruned PyTorch transformers into executables whose speed follows their sparsity.",
    epilog="Example: secateur compile my-pruned-bert -o my.bundle",
    no_args_is_help=True,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)
app.command("compile", cls=GroupedCommand, epilog=compile.EXAMPLE)(compile.command)
app.command("inspect", cls=GroupedCommand, epilog=inspect.EXAMPLE)(inspect.command)
app.command("run", cls=GroupedCommand, epilog=run.EXAMPLE)(run.command)
app.command("prune", cls=GroupedCommand, epilog=prune.EXAMPLE)(prune.command)
app.command("finetune", cls=GroupedCommand, epilog=finetune.EXAMPLE)(finetune.command)
app.command("eval", cls=GroupedCommand, epilog=eval.EXAMPLE)(eval.command)
app.command("bench", cls=GroupedCommand, epilog=bench.EXAMPLE)(bench.command)
app.command("tune", cls=GroupedCommand, epilog=tune.EXAMPLE)(tune.command)
app.command("search", cls=GroupedCommand, epilog=search.EXAMPLE)(search.command)
app.command("profile", cls=GroupedCommand, epilog=profile.EXAMPLE)(profile.command)
app.command("deploy", cls=GroupedCommand, epilog=deploy.EXAMPLE)(deploy.command)
app.command("targets", cls=GroupedCommand, epilog=targets.EXAMPLE)(targets.command)
app.command("qa", cls=GroupedCommand, epilog=qa.EXAMPLE)(qa.command)
app.command("serve", cls=GroupedCommand, epilog=serve.EXAMPLE)(serve.command)


def _print_version(wanted: bool) -> None:
    if wanted:
        with writing_output():
            typer.echo(f"secateur {metadata.version('secateur')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


# Newer Typers carry click inside, under a name of their own; this class is the same idea in all.
_UsageError: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "UsageError")


def _explain(error: Any) -> None:
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message(), file=sys.stderr)
        return
    where = error.ctx.command_path if error.ctx else "secateur"
    text = error.format_message()
    if type(error).__name__ == "MissingParameter" and getattr(error.param, "metavar", None) == "BUNDLE":
        from secateur.runtime_targets.found_instead import MAKE

        text = f"{text.rstrip('.')}; {MAKE}"
    print(f"error: {text}\nTry '{where} --help'.", file=sys.stderr)


_INTERRUPTED = 130


def _sentence(error: Exception) -> str:
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"'{error.filename}': {error.strerror}"
    return " ".join(text.split()) or type(error).__name__


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code: 0, 1 for a failure, 2 for wrong usage, 130 when interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    open_streams()
    try:
        code = app(arguments, prog_name="secateur", standalone_mode=False)
        with writing_output():
            pass
        if code == _INTERRUPTED:
            print("interrupted", file=sys.stderr)
        return code if isinstance(code, int) else 0
    except _UsageError as error:
        _explain(error)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted.
        return 1
    except Exception as error:
        if debug:
            raise
        if isinstance(error, typer.Abort) and isinstance(error.__cause__, Exception):
            # Typer takes the end of any file for the end of what a person types.
            error = error.__cause__
        text = _sentence(error)
        if isinstance(error, (SecateurError, OSError)):
            print(f"error: {text}", file=sys.stderr)
        else:
            print(f"error: internal fault ({type(error).__name__}): {text}; --debug shows where", file=sys.stderr)
        return 2 if isinstance(error, SecateurError) and error.usage else 1


if __name__ == "__main__":
    sys.exit(main())
