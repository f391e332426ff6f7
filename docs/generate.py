"""Writes the pages of docs/ that are made of docstrings and of `--help`: `make docs`.

`python docs/generate.py --check` writes nothing and fails where a page is stale.
"""

import contextlib
import inspect
import io
import os
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NOTE = "<!-- Written by docs/generate.py; change the source and run `make docs`. -->\n"


def cli() -> str:
    """docs/cli.md: the help of every command."""
    # Help is wrapped to the terminal; the page must not depend on whose.
    os.environ["COLUMNS"] = "100"
    os.environ["TERMINAL_WIDTH"] = "100"
    from secateur.commands.app import app

    def help_of(*command: str) -> str:
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            app([*command, "--help"], prog_name="secateur", standalone_mode=False)
        return text.getvalue().rstrip()

    names = [c.name for c in app.registered_commands]
    parts = [NOTE, "# The command line\n", "```text", help_of(), "```\n"]
    parts.append(
        "Results go to standard output, everything else to standard error. Exit codes: 0; 1 where something failed; 2 "
        "where the command line is at fault (an option, a name, a value, a path), which is told before anything is "
        "loaded; 130 when interrupted.\n"
    )
    for name in names:
        parts += [f"## secateur {name}\n", "```text", help_of(str(name)), "```\n"]
    return "\n".join(parts)


def passes() -> str:
    """docs/passes.md: every pass of the tree, its docstring and its options."""
    from secateur.compiler.pipeline.pipelines import NAMED
    from secateur.passes.registry import PASSES, find_pass

    parts = [NOTE, "# Passes\n"]
    parts.append("In the order in which a model meets them. `sparsity-opt --list-passes` prints the names.\n")
    for name in PASSES:
        found = find_pass(name)
        parts += [f"## `{name}`\n"]
        # The sketch of the IR before and after stands in the module's docstring or in the class's.
        above = inspect.cleandoc(sys.modules[found.__module__].__doc__ or "")
        texts = [above] if "before:" in above else []
        parts += ["~~~text", "\n\n".join([*texts, inspect.cleandoc(found.__doc__ or "")]), "~~~\n"]
        options = found.options()
        if options:
            parts += ["| option | type | default |", "|---|---|---|"]
            parts += [f"| `{o}` | {kind.__name__} | `{default!r}` |" for o, (kind, default) in options.items()]
            parts.append("")
    parts += ["## Named pipelines\n"]
    for name, text in NAMED.items():
        parts += [f"`--{name}`\n", "```text", *textwrap.wrap(text, 110, break_long_words=False), "```\n"]
    return "\n".join(parts)


def dialect() -> str:
    """docs/dialect.md: attributes and ops of the dialect."""
    from secateur.dialects.sparsity import attributes, kernel_ops
    from secateur.dialects.sparsity.dialect import Sparsity
    from secateur.dialects.sparsity.ops import OPS

    def classes(module: types.ModuleType, base: type) -> list[Any]:
        found = [v for v in vars(module).values() if isinstance(v, type) and issubclass(v, base) and v is not base]
        return [v for v in found if v.__module__ == module.__name__]

    shown: set[Any] = set()
    about = sys.modules["secateur.dialects.sparsity"].__doc__ or ""
    parts = [NOTE, "# The `sparsity` dialect\n", inspect.cleandoc(about) + "\n", "## Attributes\n"]
    for attribute in (*attributes.ENCODINGS.values(), *classes(attributes, attributes.Described)):
        if not isinstance(attribute.attr_name, str) or attribute in shown:  # a base has no name
            continue
        shown.add(attribute)
        parts += [f"### `#{attribute.attr_name}`\n", inspect.cleandoc(attribute.__doc__ or "") + "\n"]
    parts.append("## Ops\n")
    for op in (*OPS.values(), *classes(kernel_ops, Sparsity.Operation)):
        title = inspect.cleandoc(sys.modules[op.__module__].__doc__ or "").split("\n")[0].rstrip(".")
        parts += [f"### `{op.OPERATION_NAME}`\n", f"{title}.\n", inspect.cleandoc(op.__doc__ or "") + "\n"]
    return "\n".join(parts)


def ops() -> str:
    """docs/ops.md: which ops of PyTorch can be compiled."""
    from secateur.frontends.coverage import NOT_COVERED, core_ops

    covered = [name for name in core_ops() if name not in NOT_COVERED]
    parts = [
        NOTE,
        "# Ops of PyTorch\n",
        "`torch.export` turns a module into ATen ops. Secateur compiles the ops below, their in-place forms and",
        "aliases, and every op that PyTorch decomposes into them (`lstm`, `einsum`, `unfold`, ...). Any other op is",
        "reported with its module and its line of Python before compilation starts. A test calls every op.\n",
        f"## The {len(covered)} core ATen ops that are compiled\n",
        *textwrap.wrap(", ".join(f"`{name.removesuffix('.default')}`" for name in covered), 110),
        "",
        "## The core ATen ops that are reported\n",
        "| op | because |",
        "|---|---|",
        *(f"| `{name.removesuffix('.default')}` | {reason} |" for name, reason in NOT_COVERED.items()),
        "",
        "Sorting (`sort`, `topk`), products so far (`cumprod`, `cummax`) and writes to computed places (`scatter`,",
        "`index_put`) cost quadratic work; beyond 1,024 values (writes: 16 million comparisons) they are reported.",
    ]
    return "\n".join(parts)


PAGES = {"cli.md": cli, "passes.md": passes, "dialect.md": dialect, "ops.md": ops}


def main(arguments: list[str]) -> int:
    stale = []
    for name, make in PAGES.items():
        text = "\n".join(line.rstrip() for line in make().splitlines()) + "\n"
        page = HERE / name
        if arguments == ["--check"]:
            if not page.exists() or page.read_text() != text:
                stale.append(name)
        else:
            page.write_text(text)
    if stale:
        print(f"stale: {', '.join(stale)}; run `make docs`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
