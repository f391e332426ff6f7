"""The command line of `sparsity-opt`, read as LLVM's tools read theirs.

One dash or two; `--flag=value` or `--flag value`; what is no flag is a pass, and passes run in the order given.
"""

import dataclasses
import difflib
import textwrap
from collections.abc import Sequence

USAGE = "sparsity-opt [FILE] [--<pass>[=option=value]]... [flags]"

EXAMPLES = """\
examples:
  sparsity-opt model.mlir --sparsity-detect --sparsity-fuse -o fused.mlir
  sparsity-opt model.mlir --sparsity-schedule="row-tile=4" --mlir-print-ir-after-change
  sparsity-opt model.mlir --pass-pipeline='builtin.module(sparsity-detect,func.func(canonicalize))'
  sparsity-opt model.mlir --weights model.weights --structural --scheduled --check-semantics
"""


class UsageError(Exception):
    """The command line cannot be understood; the text is what to tell the user."""


@dataclasses.dataclass(frozen=True)
class Flag:
    """`kind`: "switch" (true or false), "value", "list" (may be repeated) or "choice" (the value may be left out)."""

    name: str
    help: str
    kind: str = "switch"
    metavar: str = ""
    default: object = False
    choices: tuple[str, ...] = ()


FLAGS = {
    flag.name: flag
    for flag in (
        Flag("help", "show this text"),
        Flag("version", "show the version"),
        Flag("o", "write the IR to FILE, whole or not at all (default: standard output)", "value", "FILE", "-"),
        Flag(
            "pass-pipeline", "run this pipeline; the outer builtin.module(...) may be left out", "value", "TEXT", None
        ),
        Flag("load-pass", "make the pass of a class known; may be repeated", "list", "MODULE:CLASS", ()),
        Flag("list-passes", "show every pass and named pipeline with its options, and stop"),
        Flag("emit-irdl", "print the sparsity dialect in IRDL, and stop"),
        Flag("allow-unregistered-dialect", "accept ops of unknown dialects"),
        Flag(
            "split-input-file",
            "treat the parts between `// -----` lines as inputs of their own",
            "choice",
            "MARKER",
            None,
            (),
        ),
        Flag(
            "verify-diagnostics",
            "compare what is emitted with expected-error comments; only-expected accepts further diagnostics",
            "choice",
            "MODE",
            None,
            ("all", "only-expected"),
        ),
        Flag("verify-each", "verify the IR after each pass (default: true)", default=True),
        Flag("check-semantics", "run the NumPy reference on random inputs before the first and after every pass"),
        Flag("check-seed", "seed of those inputs (default: 0)", "value", "N", "0"),
        Flag("check-tolerance", "error tolerated, relative to the largest value (default: 1e-4)", "value", "X", "1e-4"),
        Flag("weights", "weight store that `sparsity.weight` symbols name", "value", "FOLDER", None),
        Flag("save-weights", "write the store as the passes left it", "value", "FOLDER", None),
        Flag("statistics", "what each pass did, on standard error", "choice", "FORM", None, ("text", "json")),
        Flag("mlir-timing", "wall time of each pass, on standard error"),
        Flag("mlir-print-ir-before-all", "print the module before each pass"),
        Flag("mlir-print-ir-after-all", "print the module after each pass"),
        Flag("mlir-print-ir-before", "print the module before these passes", "list", "PASS,...", ()),
        Flag("mlir-print-ir-after", "print the module after these passes", "list", "PASS,...", ()),
        Flag("mlir-print-ir-after-change", "print the module after each pass that changed it"),
        Flag("mlir-print-ir-after-failure", "print the module after a pass that failed"),
        Flag("mlir-print-ir-tree-dir", "print into files in this folder instead", "value", "FOLDER", None),
        Flag("mlir-print-ir-module-scope", "accepted: the whole module is always printed"),
        Flag("mlir-print-op-generic", "print ops in their generic form"),
        Flag("mlir-print-debuginfo", "print locations"),
        Flag("mlir-elide-elementsattrs-if-larger", "leave out constants with more elements", "value", "N", None),
        Flag("mlir-disable-threading", "accepted: passes always run on one thread"),
        Flag(
            "mlir-pass-pipeline-crash-reproducer",
            "where a pass fails, write input IR and pipeline here",
            "value",
            "FILE",
            None,
        ),
        Flag("run-reproducer", "run the pipeline that stands in the input"),
        Flag("debug", "log what happens, and show a traceback where something fails"),
    )
}

_SHORT = {"h": "help"}
_TRUTH = {"true": True, "1": True, "": True, "false": False, "0": False}


@dataclasses.dataclass
class Arguments:
    """`values` by flag name, the input (`-` is standard input), and passes as (name, options) in order."""

    values: dict[str, object]
    input: str = "-"
    passes: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    def __getitem__(self, flag: str) -> object:
        return self.values[flag]

    def text(self, flag: str) -> str | None:
        """The value of a flag that takes one; None where it was not given."""
        value = self.values[flag]
        return None if value is None else str(value)

    def items(self, flag: str) -> tuple[str, ...]:
        """The values of a flag that may be repeated."""
        value = self.values[flag]
        assert isinstance(value, tuple)
        return value

    def number(self, flag: str, kind: type[int] | type[float]) -> int | float | None:
        """The value as a number. Raises `UsageError`."""
        text = self.text(flag)
        try:
            return None if text is None else kind(text)
        except ValueError:
            wanted = "an integer" if kind is int else "a number"
            raise UsageError(f"--{flag}: expected {wanted}, found '{text}'") from None

    def pipeline(self) -> str | None:
        """The pipeline that the command line asks for; None where it names none."""
        if not self.passes:
            return self.text("pass-pipeline")
        listed = ",".join(name + (f"{{{options}}}" if options else "") for name, options in self.passes)
        return f"builtin.module({listed})"


def parse_arguments(argv: Sequence[str]) -> Arguments:
    """Reads a command line without the program's name. Raises `UsageError`."""
    arguments = Arguments({flag.name: flag.default for flag in FLAGS.values()})
    positional: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            positional += rest
            break
        if word == "-" or not word.startswith("-"):
            positional.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        name = _SHORT.get(name, name)
        if name in FLAGS:
            _set(arguments, FLAGS[name], value if equals else None, rest)
        elif not name:
            raise UsageError(f"'{word}' is neither a flag nor a pass")
        else:
            arguments.passes.append((name, value))
    if len(positional) > 1:
        raise UsageError(f"expected one input file, found {' '.join(positional)}")
    arguments.input = positional[0] if positional else "-"
    if arguments.passes and arguments["pass-pipeline"] is not None:
        raise UsageError(f"--pass-pipeline cannot be used together with --{arguments.passes[0][0]}")
    if arguments["run-reproducer"] and arguments.pipeline() is not None:
        raise UsageError("--run-reproducer takes the pipeline from the input; no other can be given")
    return arguments


def _set(arguments: Arguments, flag: Flag, value: str | None, rest: list[str]) -> None:
    values = arguments.values
    if flag.kind == "switch":
        if (value or "").lower() not in _TRUTH:
            raise UsageError(f"--{flag.name}: expected true or false, found '{value}'")
        values[flag.name] = _TRUTH[(value or "").lower()]
    elif flag.kind == "choice":
        chosen = value if value is not None else (flag.choices or ("// -----",))[0]
        if flag.choices and chosen not in flag.choices:
            raise UsageError(f"--{flag.name}: expected {' or '.join(flag.choices)}, found '{chosen}'")
        values[flag.name] = chosen
    else:
        if value is None and not rest:
            raise UsageError(f"--{flag.name} needs a value: --{flag.name}={flag.metavar}")
        given = rest.pop(0) if value is None else value
        if not given:
            raise UsageError(f"--{flag.name} needs a value: --{flag.name}={flag.metavar}")
        before = values[flag.name]
        values[flag.name] = (*arguments.items(flag.name), *given.split(",")) if isinstance(before, tuple) else given


def nearest_flag(name: str) -> str | None:
    """The flag most like `name`, with its dashes; None where none is alike."""
    found = difflib.get_close_matches(name, list(FLAGS), n=1, cutoff=0.75)
    return f"--{found[0]}" if found else None


def help_text() -> str:
    """What `--help` prints."""
    lines = [
        f"usage: {USAGE}",
        "",
        "Runs passes on MLIR text, as mlir-opt does: ours (--list-passes) and upstream's.",
        "",
        "flags:",
    ]
    for flag in FLAGS.values():
        dashes = "-" if len(flag.name) == 1 else "--"
        value = {"switch": "", "choice": f"[={'|'.join(flag.choices) or flag.metavar}]"}.get(
            flag.kind, f"={flag.metavar}"
        )
        head = f"  {dashes}{flag.name}{value}"
        wrapped = textwrap.wrap(flag.help, 110, initial_indent=" " * 42, subsequent_indent=" " * 42)
        if len(head) < 41:
            wrapped[0] = head.ljust(42) + wrapped[0].lstrip()
            lines += wrapped
        else:
            lines += [head, *wrapped]
    exits = "exit code: 0; 1 the IR or a pass failed; 2 usage; 130 interrupted"
    return "\n".join([*lines, "", EXAMPLES, exits, ""])
