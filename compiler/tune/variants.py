"""Choices that go beyond one layer: the variant of each fusion site, and the panel of the whole model.

They are made after the schedules and with them. A site's variants are compared on its group; panels, which every op
shares, on the whole model.
"""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.compiler.records.objective import objective_of
from secateur.compiler.records.records import RecordsFile, new_record, timing_lock
from secateur.passes.scheduled.sparsity_layout import PANELS, choose_panel

from .candidate import Compiled
from .errors import CandidateError
from .group import Group
from .options import TuneOptions
from .report import VariantTuned
from .search import Crew, Machine, measuring

if TYPE_CHECKING:
    from secateur.runtime_targets.targets import Target

_COMPILE = "secateur.compiler.tune.candidate:compile_variant"
# A variant that is slower than the default by a tenth is not looked at longer.
_STAGES = ((20, 1.1), (100, 0.0))
# Less than this is noise, and then what the compiler does by itself stays.
WORTH_IT = 0.985


class VariantSearch:
    """Compares the variants of one group. `options`: those of passes that apply what was tuned before."""

    def __init__(
        self,
        group: Group,
        folder: Path,
        machine: Machine,
        records: RecordsFile,
        crew: Crew,
        options: TuneOptions,
        applied: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._group, self._folder, self._machine = group, folder, machine
        self._records, self._crew, self._options, self._applied = records, crew, options, applied

    def run(self) -> VariantTuned:
        """Times every variant in turns with the default one, and records the fastest."""
        group = self._group
        objective = self._machine.objective
        known = [
            r
            for r in self._records.usable()
            if r["key"] == group.key and r["kind"] == "chosen" and objective_of(r) == objective.name
        ]
        if known and not self._options.again:
            last = known[-1]
            return VariantTuned(group.name, group.count, group.default, last["variant"], last["ratios"], reused=True)
        ratios: dict[str, float | None] = {}
        default = self._compiled(group.default)
        for variant in group.variants:
            if variant == group.default:
                ratios[variant] = 1.0
                continue
            try:
                if isinstance(default, CandidateError):
                    raise default
                candidate = self._compiled(variant)
                if isinstance(candidate, CandidateError):
                    raise candidate
                ratios[variant] = self._ratio(candidate, default)
            except CandidateError:
                ratios[variant] = None
        timed = {variant: ratio for variant, ratio in ratios.items() if ratio is not None}
        best = min(timed, key=lambda v: timed[v])
        if timed[best] < WORTH_IT:
            # Of several variants the luckiest run looks best: it has to win once more.
            timed[best] = max(timed[best], self._once_more(best))
        chosen = best if timed[best] < WORTH_IT else group.default
        record = new_record(
            "chosen",
            self._records.machine,
            group.op,
            group.target,
            variant=chosen,
            ratios=ratios,
            layer=group.name,
            time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **objective.in_record(),
        )
        self._records.add([record])
        return VariantTuned(group.name, group.count, group.default, chosen, ratios, reused=False)

    def _once_more(self, variant: str) -> float:
        """The time of a variant in another run, as a fraction of the default's; infinity where it fails."""
        candidate, default = self._compiled(variant), self._compiled(self._group.default)
        if isinstance(candidate, CandidateError) or isinstance(default, CandidateError):
            return float("inf")
        try:
            return self._ratio(candidate, default)
        except CandidateError:
            return float("inf")

    def _compiled(self, variant: str) -> Compiled | CandidateError:
        plan = self._folder / f"{variant}.json"
        plan.write_text(json.dumps({"variants": {self._group.signature: variant}}))
        options = {**self._applied, **self._group.numbers.pass_options(), "sparsity-fuse": {"plan": str(plan)}}
        arguments = (str(self._folder), options, self._machine.target, self._machine.threads)
        try:
            made: Compiled = self._crew.compilers[0].call(_COMPILE, *arguments, seconds=self._options.candidate_seconds)
        except CandidateError as error:
            return error
        return made

    def _ratio(self, candidate: Compiled, default: Compiled) -> float:
        if candidate.digest == default.digest:
            return 1.0
        function, runner = measuring(self._machine.objective, self._machine.threads)
        with timing_lock(self._records.path.parent):
            timed = self._crew.measurer.call(
                function,
                str(self._folder),
                runner,
                candidate,
                default,
                _STAGES,
                seconds=self._options.candidate_seconds,
            )
        return float(timed["ratio"])


def other_panels(tokens: int, target: "Target") -> list[int]:
    """Panels that pad a sequence no more than the one that `sparsity-layout` would choose for it."""
    lanes, default = target.description["vector_bytes"] // 4, choose_panel(tokens)
    padded = -(-tokens // default) * default
    return [p for p in PANELS if p % lanes == 0 and -(-tokens // p) * p <= padded and p != default]


def tune_panel(
    panels: list[int],
    compiled: Callable[[int], Callable[[], object]],
    records: RecordsFile,
    op: dict[str, str],
    target: str,
    again: bool,
) -> VariantTuned:
    """Compares the whole model in `panels` with itself in its default panel, and records the best.

    `compiled` gives a call of the model in a panel; 0 is the default one.
    """
    from secateur.compiler.measure.timing import interleave, ratio

    from .candidate import long_enough

    known = [r for r in records.chosen().values() if r["op"] == op and r["target"] == target]
    if known and not again:
        return VariantTuned("panel", 1, "default", str(known[0]["panel"] or "default"), known[0]["ratios"], reused=True)
    calls = {0: compiled(0)}
    ratios: dict[str, float | None] = {"default": 1.0}
    for panel in panels:
        calls[panel] = compiled(panel)
        with timing_lock(records.path.parent):
            loops, _ = long_enough({"candidate": calls[panel], "default": calls[0]}, 0.01)
            latency = interleave(loops, rounds=30, budget_seconds=20)
        ratios[str(panel)] = ratio(latency["candidate"], latency["default"])
    best = min(panels, key=lambda p: ratios[str(p)] or 1.0)
    chosen = best if (ratios[str(best)] or 1.0) < WORTH_IT else 0
    record = new_record("chosen", records.machine, op, target, panel=chosen, ratios=ratios)
    records.add([record])
    return VariantTuned("panel", 1, "default", str(chosen or "default"), ratios, reused=False)
