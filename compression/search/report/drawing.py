"""Drawings as SVG: points and lines on two axes, bars, and the layers of a candidate."""

import html
import itertools
import math
from collections.abc import Mapping, Sequence

from ..space import Choice

COLOURS = ("#1f5fa8", "#c8553d", "#3a8f5c", "#8a5aa8", "#b08a2e", "#4a9aa8")
WIDTH, HEIGHT = 560, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 14, 44
Point = tuple[float, float]


def _text(x: float, y: float, words: str, anchor: str = "middle", **more: str) -> str:
    attributes = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{attributes}>{html.escape(words)}</text>'


def _figure(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img">'
    return "\n".join([head, f"<title>{html.escape(title)}</title>", *parts, "</svg>"])


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers between `low` and `high`, about `count` of them."""
    if not high > low:
        return [low]
    step = 10 ** math.floor(math.log10((high - low) / count))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (m * step) <= count)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


class Axes:
    """Two axes over the range of `points`, named `across` and `up`; `parts` are drawn within them."""

    def __init__(self, points: Sequence[Point], across: str, up: str) -> None:
        xs, ys = ([p[n] for p in points] for n in (0, 1))
        self._x, self._y = _range(xs), _range(ys)
        self.parts: list[str] = []
        right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
        for value in ticks(*self._x):
            x, _ = self.at((value, self._y[0]))
            self.parts.append(f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}"/>')
            self.parts.append(_text(x, bottom + 16, f"{value:.6g}"))
        for value in ticks(*self._y):
            _, y = self.at((self._x[0], value))
            self.parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
            self.parts.append(_text(_LEFT - 6, y + 4, f"{value:.6g}", "end"))
        self.parts.append(_text((_LEFT + right) / 2, HEIGHT - 8, across, font_weight="bold"))
        middle = (_TOP + bottom) / 2
        self.parts.append(_text(14, middle, up, font_weight="bold", transform=f"rotate(-90 14 {middle})"))

    def at(self, point: Point) -> Point:
        """Where a point is on the drawing."""
        x = (point[0] - self._x[0]) / (self._x[1] - self._x[0])
        y = (point[1] - self._y[0]) / (self._y[1] - self._y[0])
        return _LEFT + x * (WIDTH - _LEFT - _RIGHT), HEIGHT - _BOTTOM - y * (HEIGHT - _TOP - _BOTTOM)

    def dot(self, point: Point, words: str, colour: str, radius: float = 3.5) -> None:
        """A point; `words` are shown where the mouse is on it."""
        x, y = self.at(point)
        mark = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"><title>{html.escape(words)}</title>'
        self.parts.append(mark + "</circle>")

    def name(self, point: Point, words: str, colour: str) -> None:
        """Words beside a point."""
        x, y = self.at(point)
        anchor, shift = ("end", -8) if x > WIDTH / 2 else ("start", 8)
        self.parts.append(_text(x + shift, y - 6, words, anchor, fill=colour))

    def line(self, points: Sequence[Point], colour: str, steps: bool = False) -> None:
        """A line through points; with `steps` it stays level until the next."""
        if steps:
            points = [p for a, b in itertools.pairwise(points) for p in (a, (b[0], a[1]))] + [*points[-1:]]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(self.at, points))
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')

    def drawn(self, title: str) -> str:
        """The whole drawing."""
        return _figure(WIDTH, HEIGHT, title, self.parts)


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.5 * abs(high) or 0.5
    return low - margin, high + margin


def bars(values: Sequence[tuple[str, float]], title: str) -> str:
    """A bar for each name, with its part of the whole in percent."""
    longest = max((value for _, value in values), default=0.0) or 1.0
    parts = []
    for row, (name, value) in enumerate(values):
        y = 8 + 22 * row
        length = value / longest * (WIDTH - 230)
        parts.append(_text(168, y + 12, name, "end"))
        parts.append(f'<rect x="176" y="{y}" width="{length:.1f}" height="15" fill="{COLOURS[0]}"/>')
        parts.append(_text(182 + length, y + 12, f"{value:.0%}", "start"))
    return _figure(WIDTH, 14 + 22 * len(values), title, parts)


def layers(candidate: Mapping[str, Choice], choices: Mapping[str, Sequence[Choice]], title: str) -> str:
    """What a candidate has in each layer: for dimensions such as `heads.3` a bar as long as the choice is among the
    numbers to choose from, a column for each kind; words for what is no number. A layer that is left out is empty."""
    kinds: dict[str, dict[int, str]] = {}
    for name in candidate:
        kind, _, rest = name.partition(".")
        number, _, of = rest.partition(".")
        if number.isdigit() and kind != "layer":
            kinds.setdefault(f"{kind} {of}".strip(), {})[int(number)] = name
    numbers = sorted({n for names in kinds.values() for n in names})
    column = min(150.0, (WIDTH - 50) / max(1, len(kinds)))
    parts = [_text(50 + column * (place + 0.5), 12, kind, font_weight="bold") for place, kind in enumerate(kinds)]
    for row, number in enumerate(numbers):
        y = 20 + 20 * row
        parts.append(_text(40, y + 11, str(number), "end"))
        if candidate.get(f"layer.{number}", True) is False:
            parts.append(_text(56, y + 11, "left out", "start", fill="#999"))
            continue
        for place, names in enumerate(kinds.values()):
            if number in names:
                x, choice = 50 + column * place, candidate[names[number]]
                parts += _bar(x, y, column - 10, choice, choices.get(names[number], [choice]))
    return _figure(WIDTH, 26 + 20 * len(numbers), title, parts) if numbers else ""


def _bar(x: float, y: float, width: float, choice: Choice, choices: Sequence[Choice]) -> list[str]:
    parts = []
    if isinstance(choice, int | float) and not isinstance(choice, bool):
        largest = max((c for c in choices if isinstance(c, int | float)), default=0) or 1
        parts.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="14" fill="#e8edf3"/>')
        length = width * choice / largest
        parts.append(f'<rect x="{x:.1f}" y="{y}" width="{length:.1f}" height="14" fill="{COLOURS[5]}"/>')
    parts.append(_text(x + 4, y + 11, f"{choice:g}" if isinstance(choice, float) else str(choice), "start"))
    return parts
