"""Controllers: what decides which candidate of a space is tried next."""

from .controller import Controller
from .registry import CONTROLLERS, make_controller

__all__ = ["CONTROLLERS", "Controller", "make_controller"]
