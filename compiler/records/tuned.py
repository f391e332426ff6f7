"""What tuning found for one model, as a compilation takes it and as a bundle carries it."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.dialects.number_formats import F32, NumberFormat

from .digest import digest_of
from .records import Record, RecordsFile, line_of

if TYPE_CHECKING:
    from torch_mlir import ir

    from secateur.dialects.weight_store import WeightStore
    from secateur.runtime_targets.targets import Target

RECORDS_IN_BUNDLE = "tuning/records.jsonl"
# The statistic of `sparsity-schedule` that tells which records it used.
_USED = "record-"
_FINDINGS = ("schedule", "variant", "panel")


@dataclasses.dataclass(frozen=True)
class Tuned:
    """The records that apply to a model on a target: `schedules` and `variants` (of fusion sites) by key, for any
    model, and the `model` record of this one, if it has one.
    """

    schedules: dict[str, Record] = dataclasses.field(default_factory=dict)
    variants: dict[str, Record] = dataclasses.field(default_factory=dict)
    model: Record | None = None

    @classmethod
    def of(
        cls, target: "Target", module_text: str = "", folder: Path | None = None, numbers: NumberFormat = F32
    ) -> "Tuned":
        """What is on record for `target`, and for the model whose imported module has the text `module_text`, with all
        layers in the format `numbers`.
        """
        found = RecordsFile.of(target, folder).chosen()
        models = [r for r in found.values() if r["op"] == model_op(module_text, numbers)]
        return cls(
            schedules={key: r for key, r in found.items() if "schedule" in r},
            variants={
                key: r for key, r in found.items() if "variant" in r and r["op"] == site_op(r["op"]["site"], numbers)
            },
            model=models[0] if models else None,
        )

    @property
    def panel(self) -> int:
        """Tokens in a panel; 0 for those that `sparsity-layout` would choose."""
        return int(self.model["panel"]) if self.model is not None else 0

    @property
    def digest(self) -> str:
        """Changes when a compilation with these records may give something else; empty where there are none."""
        records = [*self.schedules.values(), *self.variants.values(), *([self.model] if self.model else [])]
        parts = sorted([r["key"], *(r.get(name) for name in _FINDINGS)] for r in records)
        return digest_of(parts) if parts else ""

    def fitting(self, module: "ir.Module", weights: "WeightStore") -> "Tuned":
        """With the variants of fusion sites that a structural module has. Simplifies it, as `sparsity-fuse` would."""
        if not self.variants:
            return self
        from secateur.passes.base import PassContext
        from secateur.passes.structural.fusion import fusion_sites, simplify

        with module.context:
            simplify(module, PassContext(weights))
            sites = {site.signature for site in fusion_sites(module, PassContext(weights))}
        kept = {key: r for key, r in self.variants.items() if r["op"]["site"] in sites}
        return dataclasses.replace(self, variants=kept)

    def pass_options(self, folder: Path) -> dict[str, dict[str, Any]]:
        """The options of passes that apply the records, which are written into `folder` as they are now."""
        from secateur.passes.structural.fusion import write_plan

        options: dict[str, dict[str, Any]] = {}
        if self.schedules:
            path = folder / "records.jsonl"
            path.write_bytes(b"".join(map(line_of, self.schedules.values())))
            options["sparsity-schedule"] = {"records": str(path)}
        if self.variants:
            plan = folder / "plan.json"
            write_plan(plan, {r["op"]["site"]: r["variant"] for r in self.variants.values()})
            options["sparsity-fuse"] = {"plan": str(plan)}
        if self.panel:
            options["sparsity-layout"] = {"panel": self.panel}
            options.setdefault("sparsity-schedule", {})["panel"] = self.panel
        return options

    def used(self, statistics: dict[str, dict[str, float]]) -> bytes:
        """The lines of the records that a compilation with these `statistics` used."""
        counted = statistics.get("sparsity-schedule", {})
        records = [r for key, r in self.schedules.items() if _USED + key in counted]
        records += [*self.variants.values(), *([self.model] if self.model else [])]
        return b"".join(sorted(map(line_of, records)))


def model_op(text: str, numbers: NumberFormat = F32) -> dict[str, str]:
    """What records of a whole model are about: its imported module, without the weights' values, and its format."""
    return {"name": "model", "module": digest_of(text), **_format(numbers)}


def site_op(signature: str, numbers: NumberFormat = F32) -> dict[str, str]:
    """What records of a fusion site are about: its signature, as plans have it, and the format of its layers."""
    return {"name": "fusion", "site": signature, **_format(numbers)}


def _format(numbers: NumberFormat) -> dict[str, str]:
    return {} if numbers.is_f32 else {"numbers": str(numbers)}
