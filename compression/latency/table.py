"""The table of latencies: what each shape costs in each block at each sparsity."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from secateur.compression.prune.scheme import Scheme

from .errors import LatencyError
from .shapes import LayerShape

Curve = tuple[tuple[float, ...], tuple[float, ...]]
"""Sparsities, rising, and a figure for each."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A measured latency: `cost` in the table's unit; the same as a part of the dense layer's (`ratio`), and that by
    the fastest of all calls (`min_ratio`): where the two differ much, the machine was busy."""

    cost: float
    ratio: float
    min_ratio: float


@dataclasses.dataclass(frozen=True)
class LatencyTable:
    """Latencies of layer shapes on one machine.

    `shapes` by key and `counts`, how often the model has each; `dense`: the cost of each shape without zeros; `cells`
    by (shape's key, scheme, sparsity); `failed`: why a scheme was not measured. `unit`: `ms`, `cycles` or `counts`.
    `measured`: cells that were not known before.
    """

    target: str
    threads: int
    unit: str
    shapes: Mapping[str, LayerShape]
    counts: Mapping[str, int]
    dense: Mapping[str, float]
    cells: Mapping[tuple[str, Scheme, float], Cell]
    failed: Mapping[Scheme, str] = dataclasses.field(default_factory=dict)
    measured: int = 0

    @property
    def schemes(self) -> list[Scheme]:
        """Schemes that were measured on every shape, in the order in which they were asked for."""
        found = dict.fromkeys(scheme for _, scheme, _ in self.cells)
        return [s for s in found if s not in self.failed and all(self._points(key, s) for key in self.shapes)]

    def _points(self, key: str, scheme: Scheme) -> list[tuple[float, float]]:
        return sorted((s, cell.cost) for (k, of, s), cell in self.cells.items() if (k, of) == (key, scheme))

    def curve(self, key: str, scheme: Scheme) -> Curve:
        """The measured sparsities of a shape in a scheme and their costs, made to fall as zeros grow (`falling`).

        The dense layer is no part of it: it is another kernel, and a few zeros may cost more than none.
        """
        points = self._points(key, scheme)
        if not points:
            why = self.failed.get(scheme, "it was not asked for")
            raise LatencyError(f"the table has no latencies of '{scheme}': {why}")
        return tuple(s for s, _ in points), tuple(falling([cost for _, cost in points]))

    def cost(self, key: str, scheme: Scheme, sparsity: float) -> float:
        """The cost of a shape at a sparsity: measured, or on the line between the measured neighbours.

        At 0 that of the dense layer. Raises `LatencyError` outside of what was measured.
        """
        if sparsity == 0:
            return self.dense[key]
        sparsities, costs = self.curve(key, scheme)
        if not sparsities[0] - 1e-9 <= sparsity <= sparsities[-1] + 1e-9:
            raise LatencyError(
                f"the table has latencies of '{scheme}' at 0 and from {sparsities[0]:g} to {sparsities[-1]:g}, "
                f"found a sparsity of {sparsity:g}"
            )
        return float(np.interp(sparsity, sparsities, costs))

    def total(self, scheme: Scheme, sparsity: float) -> float:
        """The cost of all layers of the model at one sparsity."""
        return sum(count * self.cost(key, scheme, sparsity) for key, count in self.counts.items())

    def to_dict(self) -> dict[str, Any]:
        """The table as values that JSON has."""
        return {
            "target": self.target,
            "threads": self.threads,
            "unit": self.unit,
            "failed": {str(scheme): why for scheme, why in self.failed.items()},
            "shapes": [
                {
                    "shape": shape.label,
                    "rows": shape.rows,
                    "columns": shape.columns,
                    "layers": self.counts[key],
                    "dense": self.dense[key],
                    "cells": [
                        {"scheme": str(scheme), "sparsity": sparsity, **dataclasses.asdict(cell)}
                        for (k, scheme, sparsity), cell in self.cells.items()
                        if k == key
                    ],
                }
                for key, shape in self.shapes.items()
            ],
        }


def falling(costs: list[float]) -> list[float]:
    """The nearest sequence (least squares) that never rises: neighbours that do take their mean.

    Source: pool adjacent violators (Ayer et al. 1955). Noise of a measurement is thus shared by neighbours instead of
    making more zeros look slower.
    """
    pools: list[tuple[float, int]] = []
    for cost in costs:
        pools.append((cost, 1))
        while len(pools) > 1 and pools[-1][0] > pools[-2][0]:
            (late, n), (early, m) = pools.pop(), pools.pop()
            pools.append(((late * n + early * m) / (n + m), n + m))
    return [mean for mean, count in pools for _ in range(count)]
