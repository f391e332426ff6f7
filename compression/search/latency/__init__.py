"""The latency of candidates: a table of what parts of layers cost in whole models, and whole models where it counts.

    latency of a candidate = slope * sum of its cells + intercept

A cell is one part of a layer (`cells`): a linear layer by its shape, scheme, rate and numbers, or what else attention
or the FFN of a layer do. Cells are measured within models that are made for it (`covering`), so that caches and
neighbours are those of a model, and each once per machine (`table`). Slope and intercept come from whole models that
were timed. Nothing is interpolated between sizes or rates. Where a CPU is emulated, instructions take the place of
times (`counted`).
"""

from typing import TYPE_CHECKING

from secateur.dialects.lazy_names import lazy_names

if TYPE_CHECKING:
    from .counted import predictor_of
    from .predictor import LatencyPredictor, Prediction

__all__ = ["LatencyPredictor", "Prediction", "predictor_of"]

_HOMES = {"LatencyPredictor": "predictor", "Prediction": "predictor", "predictor_of": "counted"}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
