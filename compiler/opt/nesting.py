"""How deep MLIR text is nested: its parser recurses, and ends the process where the stack is full.

Brackets count by themselves and through aliases: `#b = [#a]` is one level deeper than `#a`. Aliases that name each
other many times are written out by the printer, so their expansion is limited as well.
"""

import graphlib
import re

from secateur.compiler.pipeline.diagnostics import Diagnostic

DEEPEST = 256
LARGEST = 1_000_000
_OPENED = {")": "(", "]": "[", "}": "{", ">": "<"}
_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|->|[<>]=|[()\[\]{}<>]|[#!][A-Za-z_][\w$-]*(?![\w$.-])|\n')
_DEFINED = re.compile(r"[ \t]*([#!][A-Za-z_][\w$-]*)[ \t]*=", re.MULTILINE)


def too_deep(text: str, file: str) -> Diagnostic | None:
    """Where `text` is nested deeper than `DEEPEST` levels, or its aliases stand for more than `LARGEST` parts."""
    open_brackets: list[str] = []
    line, line_start = 1, 0
    alias = ""
    depth: dict[str, int] = {}
    uses: dict[str, list[tuple[str, int]]] = {}
    where: dict[str, int] = {}
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token == "\n":
            line, line_start = line + 1, match.end()
            if not open_brackets:
                alias = ""
        elif token in "([{<":
            open_brackets.append(token)
            if len(open_brackets) > DEEPEST:
                return _error(f"nested more than {DEEPEST} levels deep", file, line, match.start() - line_start + 1)
            if alias:
                depth[alias] = max(depth[alias], len(open_brackets))
        elif token in _OPENED:
            if _OPENED[token] in open_brackets:
                while open_brackets.pop() != _OPENED[token]:
                    pass
        elif token[0] in "#!":
            defined = _DEFINED.match(text, line_start)
            if not open_brackets and defined and defined.start(1) == match.start():
                alias, depth[token], uses[token], where[token] = token, 0, [], line
            elif alias:
                uses[alias].append((token, len(open_brackets)))
    return _check_aliases(depth, uses, where, file)


def _check_aliases(
    depth: dict[str, int], uses: dict[str, list[tuple[str, int]]], where: dict[str, int], file: str
) -> Diagnostic | None:
    parts: dict[str, int] = {}
    graph = {name: [used for used, _ in named if used in uses] for name, named in uses.items()}
    try:
        for name in graphlib.TopologicalSorter(graph).static_order():
            inner = [(used, level) for used, level in uses[name] if used in parts]
            depth[name] = max([depth[name], *(level + depth[used] for used, level in inner)])
            parts[name] = 1 + sum(parts[used] for used, _ in inner)
            if depth[name] > DEEPEST:
                return _error(f"'{name}' is nested more than {DEEPEST} levels deep", file, where[name], 1)
            if parts[name] > LARGEST:
                return _error(f"'{name}' stands for more than {LARGEST} aliases", file, where[name], 1)
    except graphlib.CycleError:
        pass  # The parser says which alias is not defined.
    return None


def _error(message: str, file: str, line: int, column: int) -> Diagnostic:
    return Diagnostic("error", f"{message}; the parser takes no more", file, line, column)
