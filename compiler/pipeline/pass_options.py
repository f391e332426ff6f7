"""The options of a pass as text, `row-tile=8 name="a b" flag`, and as values of the types its fields have."""

import re
import types
import typing


def split_options(text: str) -> list[tuple[str, str | None, int]]:
    """`row-tile=8 name="a b" flag` -> (key, value or None, position) each. Quotes and outer braces are taken off.

    Raises `ValueError` for text that is no option.
    """
    found, position = [], 0
    pattern = re.compile(r"""\s*([\w.-]+)(?:=("[^"]*"|'[^']*'|\{[^{}]*\}|[^\s"'{}]*))?(?=\s|$)""")
    while text[position:].strip():
        match = pattern.match(text, position)
        if match is None:
            raise ValueError(f"malformed option '{text[position:].strip()}'; expected name=value")
        value = match[2]
        if value and value[0] in "\"'{":
            value = value[1:-1]
        found.append((match[1], value, match.start(1)))
        position = match.end()
    return found


def convert(value: str | None, kind: object) -> object:
    """An option's text as `kind` (bool, int, float, str, or one of them or None). Raises `ValueError`."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
    if kind is bool:
        words = {None: True, "true": True, "1": True, "false": False, "0": False}
        if value not in words:
            raise ValueError(f"expected true or false, found '{value}'")
        return words[value]
    if value is None:
        raise ValueError("expected a value")
    try:
        return kind(value)  # type: ignore[operator]
    except ValueError:
        names = {int: "an integer", float: "a number"}
        raise ValueError(f"expected {names.get(kind, kind)}, found '{value}'") from None  # type: ignore[call-overload]
