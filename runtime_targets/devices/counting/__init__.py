"""Counting: what an emulated Arm CPU executes, instruction by instruction. Counts are exact, and no times.

from secateur.runtime_targets.devices.counting import plugin_option, read_counts
with EmulatedCpu("cortex-a76", options=plugin_option(file)) as device:
    ...                                    # run a program
print(read_counts(file).kernels().counts())
"""

from .count import KERNELS, Block, Counts, Executed, read_counts
from .cycles import CycleEstimate, cycle_estimates
from .plugin import build_plugin, plugin_option

__all__ = [
    "KERNELS",
    "Block",
    "Counts",
    "CycleEstimate",
    "Executed",
    "build_plugin",
    "cycle_estimates",
    "plugin_option",
    "read_counts",
]
