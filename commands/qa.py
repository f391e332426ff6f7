"""`secateur qa`: an answer out of a text, by a bundle."""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secateur.compiler.measure.tables import percent, table

from .early_checks import check_bundle, check_file
from .output import Debug, Json, Output, Quiet, is_plain

if TYPE_CHECKING:
    from rich.console import Console

    from secateur.applications.question_answering.answer import Answer, Answers

EXAMPLE = 'Example: secateur qa qa.bundle --context report.txt --question "Who signed it?"'


def command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle of a question-answering model.")],
    context: Annotated[
        str, typer.Option(metavar="FILE|-", help="The text, in UTF-8, of any length; - is standard input.")
    ],
    question: Annotated[str, typer.Option(metavar="TEXT", help="The question.")],
    n_best: Annotated[int, typer.Option(min=1, max=20, metavar="N", help="Answers to give, best first.")] = 3,
    threads: Annotated[
        int, typer.Option(min=1, metavar="THREADS", help="Windows of the text to read at a time, each on a core.")
    ] = 1,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Answer a question out of a text. The model always names a piece of the text, also where it holds no answer."""
    check_bundle(bundle)
    if not question.strip():
        raise typer.BadParameter("the question is empty", param_hint="--question")
    output = Output(as_json, quiet)
    text = read_text(context)
    with output.progress(f"reading {'standard input' if context == '-' else context}") as progress:
        progress("loading")
        from secateur.applications.question_answering.answer import Reader

        with Reader(bundle, sessions=threads) as reader:
            progress("splitting into words")
            answers = reader.answer(
                text, question, n_best, progress=lambda done, total: progress(f"windows, {done} of {total}")
            )
            model = reader.model
    value = {
        "bundle": str(bundle),
        "model": model.name,
        "question": question,
        **{name: field for name, field in dataclasses.asdict(answers).items() if name != "compared"},
        "window_tokens": model.tokens,
    }
    output.result(value, lambda console: _show(console, answers, model.tokens))


def read_text(context: str) -> str:
    """A file's text, or standard input's for `-`. Raises `typer.BadParameter`."""
    if context == "-":
        data, name = sys.stdin.buffer.read(), "standard input"
    else:
        path = Path(context)
        check_file(path, "--context")
        data, name = path.read_bytes(), f"'{path}'"
    try:
        # The mark that some editors put first is no part of the text.
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text = f"{name} is no text in UTF-8: byte {error.start} is 0x{data[error.start]:02x}"
        raise typer.BadParameter(f"{text}; convert it, for example with iconv", param_hint="--context") from None


def _show(console: "Console", answers: "Answers", tokens: int) -> None:
    if not answers.answers:
        console.print("no piece of the text could be an answer")
    else:
        from rich.markup import escape

        console.print(highlighted(answers.answers[0]))
        console.print()
        rows = [
            (escape(one_line(a.text)), percent(a.probability), f"{a.score:.2f}", f"{a.start}-{a.end}")
            for a in answers.answers
        ]
        console.print(table(("answer", "probability", "score", "characters"), rows))
    windows = "1 window" if answers.windows == 1 else f"{answers.windows} windows"
    console.print(
        f"{windows} of {tokens} tokens, {answers.ms_per_window:.1f} ms each (median), {answers.total_ms:.0f} ms in all",
        highlight=False,
    )


def highlighted(answer: "Answer") -> Any:
    """The sentence on one line, with the answer in it set off; between brackets where there are no colours."""
    from rich.text import Text

    begin, end = answer.start - answer.sentence_start, answer.end - answer.sentence_start
    before, inside, after = answer.sentence[:begin], answer.sentence[begin:end], answer.sentence[end:]

    plain = not sys.stdout.isatty() or is_plain()
    text = Text(one_line(before))
    text.append(f"[{one_line(inside)}]" if plain else one_line(inside), style="bold reverse")
    text.append(one_line(after))
    return text


def one_line(piece: str) -> str:
    """The piece without line breaks and control characters, which a terminal would take for commands."""
    return "".join(c if c.isprintable() else " " for c in piece)
