"""The targets by name: what passes are told of the machine, and what IREE is told.

A name is `FAMILY` or `FAMILY:MODEL`: `host-cpu`, `android-arm64:cortex-a76`. Families are in `registry.py`, Arm CPUs
in `cpu_models.py`, GPUs in `gpu_models.py`.
"""

from .registry import FAMILIES, Family, families, get_target, targets
from .target import Target, TargetError

__all__ = ["FAMILIES", "Family", "Target", "TargetError", "families", "get_target", "targets"]
