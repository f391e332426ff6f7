"""One model on its way to the code of one target."""

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.compiler.pipeline.levels import LEVELS, Dump, Lowering, pipeline_to
from secateur.dialects.entry_points import MAIN
from secateur.dialects.scratch import ScratchFolder
from secateur.dialects.sparsity.attributes import TARGET
from secateur.runtime_targets.token_count import in_order

from .compile_options import Options, TargetOptions
from .report import TargetReport

if TYPE_CHECKING:
    import numpy as np
    from torch_mlir import ir

    from secateur.compiler.records.tuned import Tuned
    from secateur.compiler.verify.op_by_op import OpDifference
    from secateur.compiler.verify.reference import Reference
    from secateur.frontends import Loaded
    from secateur.runtime_targets.iree import Assembly
    from secateur.runtime_targets.manifest import DispatchWork, Function
    from secateur.runtime_targets.targets import Target

    from .work import LocatedWork


@dataclasses.dataclass(frozen=True)
class TargetCode:
    """What a build comes to: a module (`.vmfb`), the arrays it reads by symbol, the work of its dispatches."""

    module: bytes
    parameters: "dict[str, np.ndarray]"
    dispatches: "tuple[DispatchWork, ...]"


class TargetBuild:
    """Takes a structural module to the code of one target. `lowering` holds the module, which is changed."""

    def __init__(self, options: Options, chosen: TargetOptions, lowering: Lowering, dump: Dump | None) -> None:
        self._options, self._chosen, self._lowering, self._dump = options, chosen, lowering, dump
        self._work: list[LocatedWork] = []
        self._tuned: Tuned | None = None
        self._tuned_folder: ScratchFolder | None = None
        self._scheduled: Lowering | None = None
        self.seconds: dict[str, float] = {}
        self.report = TargetReport(chosen.target.name, chosen.lowering)

    @property
    def chosen(self) -> TargetOptions:
        """The target, and how the model is lowered for it."""
        return self._chosen

    def lower(self) -> str:
        """Lowers to the level that was asked for, or to the last before IREE. Returns its text where it is wanted."""
        from .work import work_of_module

        options, lowering = self._options, self._lowering
        describe_target(lowering.module, self._chosen.target)
        text = self._text()
        try:
            for level in LEVELS[2:-1]:
                if lowering.level == options.compile_to:
                    break
                options.progress(level)
                lowering.lower(level, self._pipeline(level))
                if level == "scheduled":
                    self._work = work_of_module(lowering.module, lowering.weights)
                    if options.verify and self._rounds:
                        self._scheduled = Lowering.of_copy(lowering.module, lowering.weights, level)
                text = self._reached()
        finally:
            if self._dump is not None:
                options.progress("writing the weights of the dump")
                self._dump.write_weights(lowering.weights)
        self.seconds.update(lowering.seconds)
        self.report.statistics = lowering.statistics
        return text

    @property
    def _rounds(self) -> bool:
        """Whether activations are rounded between ops."""
        on_gpu = self._chosen.target.backend == "vulkan"
        found = [numbers.arithmetic for numbers in self._options.numbers.formats]
        return any(one.rounds_activations or (on_gpu and one.half_sums > 0) for one in found)

    def code(self, functions: "Mapping[str, Function]") -> TargetCode:
        """Lowers, and compiles. Raises what `lower` and `compile` do."""
        self.lower()
        return self.compile(functions)

    def compile(self, functions: "Mapping[str, Function]") -> TargetCode:
        """Compiles what was lowered with IREE, to be called as `functions` tell, by name.

        Raises `AssemblyError` or `CompilationError`.
        """
        from secateur.runtime_targets import iree
        from secateur.runtime_targets.iree.dispatches import dispatch_calls

        from .work import join_work

        self._options.progress("compiling with IREE")
        began = time.perf_counter()
        target = self._chosen.target
        assembly: Assembly = iree.assemble(
            self._lowering.module, self._lowering.weights, target=target, functions=functions
        )
        if self._dump is not None:
            self._dump.write("iree", assembly.text)
        code = iree.compile_assembly(assembly, target)
        dispatches = join_work(self._work, dispatch_calls(assembly, target))
        self.seconds["iree"] = time.perf_counter() - began
        return TargetCode(code, assembly.parameters, tuple(dispatches))

    def records(self) -> bytes:
        """The records of tuning that were used, as lines."""
        return self._tuned.used(self._lowering.statistics) if self._tuned is not None else b""

    def first_wrong_layer(self, loaded: "Loaded", arrays: "dict[str, np.ndarray]") -> str:
        """A clause that names the first layer that differs from PyTorch's on these inputs. For code that runs here."""
        from secateur.compiler.verify.first_wrong_layer import first_wrong_layer
        from secateur.frontends import import_model

        options, target = self._options, self._chosen.target
        again = import_model(loaded.module, loaded.example_inputs)
        structural = Lowering(again.module, again.weights)
        structural.lower("structural", "torch-to-structural")
        describe_target(again.module, target)

        def run(module: "ir.Module") -> "np.ndarray":
            lowering = Lowering(module, again.weights, level="structural")
            lowering.lower("structural", "sparsity-detect")
            for level in ("scheduled", "kernels"):
                lowering.lower(level, self._pipeline(level))
            return self._run(lowering, in_order(again.inputs, arrays))[0]

        return first_wrong_layer(structural.module, loaded.module, arrays, run, options.progress)

    def op_differences(self, reference: "Reference", device: str | None = None) -> "list[OpDifference]":
        """How far each op's code is from the op's reference, where activations are rounded; else none.

        The code runs here, or on the emulated `device`. The inputs are padded ones, where the model takes a mask.
        """
        from secateur.compiler.verify.comparison import PADDED
        from secateur.compiler.verify.op_by_op import compare_ops

        scheduled = self._scheduled
        if scheduled is None:
            return []
        inputs = reference.positional(reference.cases.get(PADDED, reference.cases["random"]))

        def run(module: "ir.Module") -> "list[np.ndarray]":
            lowering = Lowering.of_copy(module, scheduled.weights, scheduled.level)
            lowering.lower("kernels", self._pipeline("kernels"))
            return self._run(lowering, inputs, device)

        return compare_ops(scheduled.module, scheduled.weights, inputs, run)

    def _run(self, lowering: Lowering, inputs: "list[np.ndarray]", device: str | None = None) -> "list[np.ndarray]":
        """Compiles a module at the level `kernels` and runs it on this machine, or on a device by its name."""
        from secateur.compiler.semantics.evaluation import find_function
        from secateur.runtime_targets import iree
        from secateur.runtime_targets.devices.module_on_device import run_module
        from secateur.runtime_targets.iree.lavapipe import vulkan_session

        *_, end = find_function(lowering.module, MAIN).regions[0].blocks[0].operations
        results = len(end.operation.operands)
        target = self._chosen.target
        assembly = iree.assemble(lowering.module, lowering.weights, target=target)
        code = iree.compile_assembly(assembly, target)
        with ScratchFolder("compiled") as scratch:
            archive = Path(scratch) / "weights.irpa"
            iree.write_parameters(archive, assembly.parameters)
            if device is not None and target.backend == "vulkan":
                return vulkan_session(device, code, archive).run(inputs)
            if device is not None:
                module = Path(scratch) / "model.vmfb"
                module.write_bytes(code)
                return run_module(module, archive, inputs, results, device)
            return iree.Session(code, archive, threads=self._options.threads).run(inputs)

    def _pipeline(self, level: str) -> str:
        """The pipeline that leads to `level`, with what tuning found."""
        options, chosen = self._options, self._chosen
        if chosen.tuned is not None and level == "scheduled":
            self._tuned = chosen.tuned.fitting(self._lowering.module, self._lowering.weights)
            found = self._tuned.pass_options(self._folder())
        else:
            found = {}
        if level == "scheduled":
            found |= options.numbers.pass_options(self._folder())
        return pipeline_to(level, chosen.lowering, options.schedule, found, options.leave_out)

    def _folder(self) -> Path:
        """Where files are that options of passes name."""
        self._tuned_folder = self._tuned_folder or ScratchFolder("tuned")
        return Path(self._tuned_folder.name)

    def _reached(self) -> str:
        text = self._text() if self._dump is None else str(self._lowering.module)
        if self._dump is not None:
            self._dump.write(self._lowering.level, text)
        return text

    def _text(self) -> str:
        return str(self._lowering.module) if self._lowering.level == self._options.compile_to else ""


def describe_target(module: "ir.Module", target: "Target") -> None:
    """Puts the description of `target` onto the module, where passes read it."""
    from torch_mlir import ir

    with module.context:
        module.operation.attributes[TARGET] = ir.Attribute.parse(target.description_text())
