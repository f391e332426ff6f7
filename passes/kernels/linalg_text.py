"""Functions of linalg ops as text: `linalg.generic` with dimensions named by letters, as in an einsum.

Used by `convert-sparsity-to-linalg`, which parses a function per op, calls it and inlines the call. Text, because
the operand order, maps and bodies of a generic op read better in MLIR's own syntax than as builder calls.
"""

from collections.abc import Sequence

from secateur.dialects.number_formats.f16 import LARGEST

Shape = Sequence[int]


def tensor(shape: Shape, element: str = "f32") -> str:
    """The text of a tensor type."""
    return "tensor<" + "".join(f"{d}x" for d in shape) + element + ">"


def literal(value: float) -> str:
    """An f32 literal that MLIR reads back exactly, infinities included."""
    if value == float("-inf"):
        return "0xFF800000"
    return f"{value:.17e}"


def as_f32(result: str, value: str, element: str) -> list[str]:
    """Body lines that read `value` of a weight's element type as the f32 `result`; none where it is f32 already."""
    if element == "f32":
        return []
    operation = "extf" if element == "f16" else "sitofp"
    return [f"{result} = arith.{operation} {value} : {element} to f32"]


def as_f16(result: str, value: str) -> list[str]:
    """Body lines that round the f32 `value` to the f16 `result`: no number where f16 cannot hold it."""
    return [
        f"{result}_size = math.absf {value} : f32",
        f"{result}_most = arith.constant {literal(LARGEST)} : f32",
        f"{result}_fits = arith.cmpf ole, {result}_size, {result}_most : f32",
        f"{result}_none = arith.constant 0x7FC00000 : f32",
        f"{result}_kept = arith.select {result}_fits, {value}, {result}_none : f32",
        f"{result} = arith.truncf {result}_kept : f32 to f16",
    ]


class Snippet:
    """A private function under construction. Values are SSA names with known shapes."""

    def __init__(self, name: str, arguments: Sequence[str]) -> None:
        self.name = name
        self.arguments = [f"%arg{i}" for i in range(len(arguments))]
        self._signature = ", ".join(f"{n}: {t}" for n, t in zip(self.arguments, arguments, strict=True))
        self._lines: list[str] = []
        self._count = 0

    def fresh(self) -> str:
        """A new SSA name."""
        self._count += 1
        return f"%v{self._count}"

    def line(self, text: str) -> str:
        """Adds `%new = text`; returns the name."""
        name = self.fresh()
        self._lines.append(f"{name} = {text}")
        return name

    def constant(self, value: float, element: str = "f32") -> str:
        """A scalar."""
        return self.line(f"arith.constant {literal(value) if element == 'f32' else value} : {element}")

    def filled(self, shape: Shape, value: float, element: str = "f32") -> str:
        """A tensor of one number."""
        kind = tensor(shape, element)
        empty, scalar = self.line(f"tensor.empty() : {kind}"), self.constant(value, element)
        return self.line(f"linalg.fill ins({scalar} : {element}) outs({empty} : {kind}) -> {kind}")

    def generic(
        self,
        dims: str,
        inputs: Sequence[tuple[str, str, str]],
        out: str,
        shape: Shape,
        body: Sequence[str],
        start: float | None = None,
        element: str = "f32",
    ) -> str:
        """A `linalg.generic` over `dims`, of `element`s; dimensions that `out` lacks are reduced, from `start`.

        `inputs` are (name, type, dimensions); `0` among the dimensions reads index 0. `body` lines see the inputs'
        elements as `%a, %b, ...` and the result's as `%acc`; its last line is the yielded name.
        """
        kind = tensor(shape, element)
        base = self.line(f"tensor.empty() : {kind}") if start is None else self.filled(shape, start, element)

        def affine(letters: str) -> str:
            names = ", ".join(f"d{dims.index(c)}" if c != "0" else "0" for c in letters)
            return f"affine_map<({', '.join(f'd{i}' for i in range(len(dims)))}) -> ({names})>"

        maps = ", ".join(affine(letters) for letters in [*(i[2] for i in inputs), out])
        kinds = ", ".join('"parallel"' if c in out else '"reduction"' for c in dims)
        head = f"linalg.generic {{indexing_maps = [{maps}], iterator_types = [{kinds}]}}"
        if inputs:
            head += f" ins({', '.join(i[0] for i in inputs)} : {', '.join(i[1] for i in inputs)})"
        elements = [t[t.rindex("x") + 1 : -1] if "x" in t else t[7:-1] for _, t, _ in inputs]
        arguments = ", ".join(f"%{'abcdefgh'[i]}: {e}" for i, e in enumerate(elements))
        arguments += (", " if arguments else "") + f"%acc: {element}"
        *lines, result = body
        text = "\n    ".join([*lines, f"linalg.yield {result} : {element}"])
        return self.line(f"{head} outs({base} : {kind}) {{\n  ^bb0({arguments}):\n    {text}\n  }} -> {kind}")

    def finish(self, result: str, result_type: str) -> str:
        """The whole function."""
        body = "\n  ".join(self._lines)
        return (
            f"func.func private @{self.name}({self._signature}) -> {result_type} {{\n"
            f"  {body}\n  return {result} : {result_type}\n}}"
        )


def padded(
    snippet: Snippet, value: str, shape: list[int], low: list[int], whole: list[int], outside: float = 0.0
) -> str:
    """`value` of `shape` in a tensor of the shape `whole` that is `outside` elsewhere, `low` from its beginning."""
    if shape == whole:
        return value
    high = [size - before - own for size, before, own in zip(whole, low, shape, strict=True)]
    indices = ", ".join(f"%i{axis}: index" for axis in range(len(shape)))
    text = f"tensor.pad {value} low{low} high{high} {{\n  ^bb0({indices}):\n"
    return snippet.line(
        f"{text}    tensor.yield {snippet.constant(outside)} : f32\n  }} : {tensor(shape)} to {tensor(whole)}"
    )


def activation_lines(kind: str, x: str) -> list[str]:
    """Body lines that compute an activation of the scalar `x`; the last one is the result's name."""
    if kind == "none":
        return [x]
    if kind == "relu":
        return ["%z = arith.constant 0.0 : f32", f"%act = arith.maximumf {x}, %z : f32", "%act"]
    if kind == "tanh":
        return [f"%act = math.tanh {x} : f32", "%act"]
    if kind == "gelu":
        return [
            f"%r = arith.constant {literal(0.5**0.5)} : f32",
            "%h = arith.constant 0.5 : f32",
            "%one = arith.constant 1.0 : f32",
            f"%s = arith.mulf {x}, %r : f32",
            "%e = math.erf %s : f32",
            "%p = arith.addf %e, %one : f32",
            f"%q = arith.mulf {x}, %h : f32",
            "%act = arith.mulf %q, %p : f32",
            "%act",
        ]
    if kind == "gelu_tanh":
        return [
            f"%r = arith.constant {literal(0.7978845608028654)} : f32",
            "%h = arith.constant 0.5 : f32",
            "%one = arith.constant 1.0 : f32",
            "%c = arith.constant 0.044715 : f32",
            f"%x2 = arith.mulf {x}, {x} : f32",
            "%x3 = arith.mulf %x2, %c : f32",
            "%x4 = arith.addf %x3, %one : f32",
            f"%s = arith.mulf {x}, %r : f32",
            "%i = arith.mulf %s, %x4 : f32",
            "%e = math.tanh %i : f32",
            "%p = arith.addf %e, %one : f32",
            f"%q = arith.mulf {x}, %h : f32",
            "%act = arith.mulf %q, %p : f32",
            "%act",
        ]
    numerator = {"sigmoid": "%one", "silu": x}[kind]
    return [
        "%one = arith.constant 1.0 : f32",
        f"%n = arith.negf {x} : f32",
        "%e = math.exp %n : f32",
        "%p = arith.addf %e, %one : f32",
        f"%act = arith.divf {numerator}, %p : f32",
        "%act",
    ]
