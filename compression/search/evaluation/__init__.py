"""Candidates of a model on a task, judged in stages: output error, a sample, a short training, the whole."""

from typing import TYPE_CHECKING

from secateur.dialects.lazy_names import lazy_names

if TYPE_CHECKING:
    from .evaluator import ModelEvaluator
    from .recipe import Recipe

__all__ = ["ModelEvaluator", "Recipe"]

_HOMES = {"ModelEvaluator": "evaluator", "Recipe": "recipe"}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
