"""The text of a pass pipeline: `builtin.module(cse,sparsity-reorder{block=64},func.func(canonicalize))`.

Names are Python passes, named pipelines or upstream passes, in this order. The text becomes a flat list of
steps, one pass each: MLIR's pass manager parses upstream passes but knows no Python pass.
"""

import dataclasses
import difflib
import functools
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch_mlir._mlir_libs
from torch_mlir import ir, passmanager

from secateur.passes import registry
from secateur.passes.base import Pass

from .pass_options import convert, split_options

_NAME = re.compile(r"[\w.$-]+")
_ROOTS = ("builtin.module", "any")


class PipelineSyntaxError(ValueError):
    """A pipeline names what does not exist or is malformed.

    `text` is the whole pipeline, `position` and `length` the faulty part, `nearest` names that were perhaps
    meant. `str()` shows the text with a caret.
    """

    def __init__(self, message: str, text: str, position: int, length: int = 1, nearest: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.message, self.text, self.position, self.length = message, text, position, max(length, 1)
        self.nearest = list(nearest)

    def __str__(self) -> str:
        shown = re.sub(r"\s", " ", self.text)
        marker = " " * self.position + "^" + "~" * (self.length - 1)
        hint = "\ndid you mean " + " or ".join(f"'{n}'" for n in self.nearest) + "?" if self.nearest else ""
        return f"{self.message}\n  {shown}\n  {marker}{hint}"


@dataclasses.dataclass(frozen=True)
class Step:
    """One pass of a pipeline. `python` is None for an upstream pass; `anchors` are the ops it is nested in."""

    name: str
    text: str
    anchors: tuple[str, ...] = ()
    python: Pass | None = None

    @property
    def pipeline(self) -> str:
        """The step as a pipeline of its own, anchored on the module."""
        opened = "".join(f"{anchor}(" for anchor in ("builtin.module", *self.anchors))
        return opened + self.text + ")" * (len(self.anchors) + 1)

    @property
    def title(self) -> str:
        """The pass's name in CamelCase, as IR dumps show it."""
        return type(self.python).__name__ if self.python else "".join(p.capitalize() for p in self.name.split("-"))


@dataclasses.dataclass(frozen=True)
class PassNames:
    """What a pipeline may name besides upstream passes.

    `loaded`: passes given by class, over those of the registry; `pipelines`: named pipelines, name -> text.
    """

    loaded: Mapping[str, type[Pass]] = dataclasses.field(default_factory=dict)
    pipelines: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def find(self, name: str) -> type[Pass] | None:
        """The class of a Python pass, or None. Raises what importing a broken one raises."""
        if name in self.loaded:
            return self.loaded[name]
        known = registry.known_passes()
        return registry.load_class(known[name]) if name in known else None

    def own(self) -> list[str]:
        """Python passes and named pipelines."""
        return [*self.loaded, *registry.known_passes(), *self.pipelines]

    def nearest(self, name: str, others: Iterable[str] = ()) -> list[str]:
        """The known names most like `name`, best first; none where nothing is alike."""
        return difflib.get_close_matches(name, [*self.own(), *others, *upstream_passes()], n=1, cutoff=0.7)


@functools.cache
def upstream_passes() -> list[str]:
    """Names of upstream passes, for suggestions only: MLIR parses more than its tool lists."""
    tool = Path(torch_mlir._mlir_libs.__file__).parent / "torch-mlir-opt"
    try:
        shown = subprocess.run([tool, "--help"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    passes = shown.partition("Passes:")[2]
    return re.findall(r"^      --([\w-]+)", passes, re.MULTILINE)


class _Parser:
    """Recursive descent over one text. `implicit` nests upstream passes that run on functions only, as
    `mlir-opt --<pass>` does; a `--pass-pipeline` has to say so itself.
    """

    def __init__(self, text: str, names: PassNames, implicit: bool, within: tuple[str, ...] = ()) -> None:
        self.text, self.names, self.implicit, self.within = text, names, implicit, within
        self.position = 0

    def fail(self, message: str, start: int, length: int = 1, nearest: Iterable[str] = ()) -> PipelineSyntaxError:
        where = f" in the pipeline '{self.within[-1]}'" if self.within else ""
        return PipelineSyntaxError(message + where, self.text, start, length, nearest)

    def peek(self) -> str:
        while self.position < len(self.text) and self.text[self.position].isspace():
            self.position += 1
        return self.text[self.position : self.position + 1]

    def elements(self, anchors: tuple[str, ...]) -> list[Step]:
        steps: list[Step] = []
        if self.peek() in ("", ")"):
            return steps
        while True:
            steps += self.element(anchors)
            if self.peek() != ",":
                return steps
            self.position += 1

    def element(self, anchors: tuple[str, ...]) -> list[Step]:
        self.peek()
        start = self.position
        match = _NAME.match(self.text, start)
        if match is None:
            raise self.fail("expected a pass name", start)
        name = match[0]
        self.position = match.end()
        following = self.peek()
        if following == "(":
            opened = self.position
            self.position += 1
            is_root = not anchors and name in _ROOTS
            steps = self.elements(anchors if is_root else (*anchors, name))
            if self.peek() != ")":
                raise self.fail("expected ',' or ')' to this '('", opened if not self.peek() else self.position)
            self.position += 1
            return steps
        options, options_start = "", self.position
        if following == "{":
            options, options_start = self.braces()
        return self.resolve(name, start, options, options_start, anchors)

    def braces(self) -> tuple[str, int]:
        start, depth, quote = self.position, 0, ""
        for place in range(start, len(self.text)):
            letter = self.text[place]
            if quote:
                quote = "" if letter == quote else quote
            elif letter in "\"'":
                quote = letter
            elif letter in "{}":
                depth += 1 if letter == "{" else -1
                if depth == 0:
                    self.position = place + 1
                    return self.text[start + 1 : place], start + 1
        raise self.fail("expected '}' to this '{'", start)

    def resolve(self, name: str, start: int, options: str, options_start: int, anchors: tuple[str, ...]) -> list[Step]:
        try:
            found = self.names.find(name)
        except Exception as error:
            raise self.fail(f"the pass '{name}' cannot be loaded: {error}", start, len(name)) from error
        if found is not None:
            if anchors:
                message = f"'{name}' runs on builtin.module, it cannot be nested in '{anchors[-1]}'"
                raise self.fail(message, start, len(name))
            instance = self.instantiate(found, name, start, options, options_start)
            return [Step(name, f"{name}{{{options}}}" if options.strip() else name, (), instance)]
        if name in self.names.pipelines:
            return self.expand(name, start, options, anchors)
        return [self.upstream(name, start, options, options_start, anchors)]

    def instantiate(self, found: type[Pass], name: str, start: int, options: str, options_start: int) -> Pass:
        known = found.options()
        values: dict[str, object] = {}
        try:
            given = split_options(options)
        except ValueError as error:
            raise self.fail(f"'{name}': {error}", options_start, len(options)) from None
        for key, value, place in given:
            if key not in known:
                accepted = ", ".join(known) or "none"
                message = f"'{name}' has no option '{key}'; accepted: {accepted}"
                nearest = difflib.get_close_matches(key, list(known), n=1)
                raise self.fail(message, options_start + place, len(key), nearest)
            try:
                values[key.replace("-", "_")] = convert(value, known[key][0])
            except ValueError as error:
                message = f"option '{key}' of '{name}': {error}"
                raise self.fail(message, options_start + place, len(key)) from None
        required = [k for k, (_, d) in known.items() if d is dataclasses.MISSING and k.replace("-", "_") not in values]
        required = [k for k in required if not _has_default_factory(found, k)]
        if required:
            raise self.fail(f"'{name}' needs the option '{required[0]}'", start, len(name))
        try:
            return found(**values)
        except ValueError as error:
            raise self.fail(f"'{name}': {error}", options_start, len(options)) from error

    def expand(self, name: str, start: int, options: str, anchors: tuple[str, ...]) -> list[Step]:
        if options.strip():
            raise self.fail(f"the pipeline '{name}' takes no options", start, len(name))
        if name in self.within:
            raise self.fail(f"the pipeline '{name}' names itself", start, len(name))
        if anchors:
            raise self.fail(f"the pipeline '{name}' runs on builtin.module", start, len(name))
        inner = _Parser(self.names.pipelines[name], self.names, self.implicit, (*self.within, name))
        return inner.whole()

    def upstream(self, name: str, start: int, options: str, options_start: int, anchors: tuple[str, ...]) -> Step:
        step = Step(name, f"{name}{{{options}}}" if options.strip() else name, anchors)
        try:
            passmanager.PassManager.parse(step.pipeline)
            return step
        except ValueError as error:
            said = str(error)
        restricted = re.search(r"restricted to '([\w.]+)'", said)
        if restricted and self.implicit and not anchors:
            return self.upstream(name, start, options, options_start, (restricted[1],))
        if restricted:
            message = f"'{name}' runs on '{restricted[1]}': write {restricted[1]}({step.text})"
            raise self.fail(message, start, len(name))
        if "does not refer to a registered pass" in said:
            raise self.fail(f"unknown pass or pipeline '{name}'", start, len(name), self.names.nearest(name))
        missing = re.search(r"no such option (\S+)", said)
        if missing:
            place = options_start + max(options.find(missing[1]), 0)
            raise self.fail(f"'{name}' has no option '{missing[1]}'", place, len(missing[1]))
        if options.strip():
            raise self.fail(f"'{name}' does not accept these options", options_start, len(options))
        raise self.fail(f"'{name}': {said.strip().splitlines()[-1]}", start, len(name))

    def whole(self) -> list[Step]:
        steps = self.elements(())
        if self.peek():
            raise self.fail("expected ',' or the end of the pipeline", self.position)
        return steps


def _has_default_factory(found: type[Pass], option: str) -> bool:
    fields = {f.name: f for f in dataclasses.fields(found)}
    return fields[option.replace("-", "_")].default_factory is not dataclasses.MISSING


def parse_pipeline(text: str, context: ir.Context, names: PassNames, implicit: bool = False) -> list[Step]:
    """The steps of a pipeline, every name and option checked. Raises `PipelineSyntaxError`.

    The outer `builtin.module(...)` may be left out. With `implicit`, upstream passes that run on functions
    only are nested by themselves.
    """
    with context:
        return _Parser(text, names, implicit).whole()


def pipeline_text(steps: Iterable[Step]) -> str:
    """The steps as one text that parses to the same steps."""
    inner = ",".join("".join(f"{a}(" for a in s.anchors) + s.text + ")" * len(s.anchors) for s in steps)
    return f"builtin.module({inner})"
