"""What fusion makes of a model, and why it does not do more."""

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from secateur.compiler.errors import CompileError

if TYPE_CHECKING:
    from torch_mlir import ir

    from secateur.dialects.weight_store import WeightStore


@dataclasses.dataclass(frozen=True)
class RewriteReport:
    """A rewrite from mathematical properties: how often it was done, and whether it changes rounding."""

    name: str
    property: str
    summary: str
    rounds: bool
    count: int


@dataclasses.dataclass(frozen=True)
class SiteReport:
    """A fusion site: the variant that it took, the legal ones, and why the others are not legal.

    `intermediate_bytes` of tensors that are not stored, `moved_bytes` that are neither written nor read, both against
    ops that are all apart.
    """

    id: str
    kind: str
    signature: str
    variant: str
    default: str
    variants: tuple[str, ...]
    refused: dict[str, str]
    intermediate_bytes: int
    moved_bytes: int


@dataclasses.dataclass(frozen=True)
class EdgeReport:
    """Two neighbouring ops, their mapping classes, what the published table says, and what came of it."""

    name: str
    producer: str
    consumer: str
    producer_class: str | None
    consumer_class: str | None
    verdict: str
    fused_class: str | None
    fused: bool
    reason: str


@dataclasses.dataclass(frozen=True)
class FusionReport:
    """Rewrites, sites and edges of one module, in program order."""

    rewrites: list[RewriteReport]
    sites: list[SiteReport]
    edges: list[EdgeReport]

    @property
    def intermediate_bytes(self) -> int:
        """Bytes of all tensors that fusion does not store."""
        return sum(site.intermediate_bytes for site in self.sites)


def inspect_fusion(model: "str | os.PathLike[str]", seq_len: int = 128, batch: int = 1, plan: str = "") -> FusionReport:
    """The report on a Hugging Face folder for `batch` sequences of `seq_len` tokens. `plan`: as for `sparsity-fuse`.

    Nothing is compiled or changed. Raises `CompileError` for a plan that cannot be read, a plan that does not fit the
    model, and a model that cannot be lowered.
    """
    from secateur.compiler.pipeline.levels import Lowering, pipeline_to
    from secateur.frontends import example_inputs_for, import_model, load_model
    from secateur.passes.structural.fusion import PlanError, read_plan

    try:
        variants = read_plan(plan)
    except PlanError as error:
        raise CompileError(str(error), usage=True) from None
    loaded = load_model(model)
    imported = import_model(loaded.module, example_inputs_for(loaded.module, batch, seq_len))
    lowering = Lowering(imported.module, imported.weights)
    lowering.lower("structural", pipeline_to("structural"))
    return report_fusion(lowering.module, lowering.weights, variants)


def report_fusion(module: "ir.Module", weights: "WeightStore", plan: Mapping[str, str]) -> FusionReport:
    """Fuses a structural module in place, by `plan`, and reports on it.

    Raises `CompileError` where the plan does not fit the module.
    """
    from torch_mlir import ir

    from secateur.passes.base import PassContext, PassFailure
    from secateur.passes.structural.fusion import REWRITES, apply, fusion_sites, simplify
    from secateur.passes.structural.fusion.explain import edges, outcomes

    context = PassContext(weights)
    try:
        with module.context, ir.Location.unknown(module.context):
            simplify(module, context)
            sites = fusion_sites(module, context)
            between = edges(module, sites)
            taken = apply(module, plan, context)
    except PassFailure as failure:
        raise CompileError(failure.message) from failure
    counts = context.statistics
    return FusionReport(
        rewrites=[RewriteReport(r.name, r.property, r.summary, r.rounds, int(counts[r.name])) for r in REWRITES],
        sites=[
            SiteReport(
                id=site.id,
                kind=site.kind,
                signature=site.signature,
                variant=taken[site.id],
                default=site.default,
                variants=site.variants,
                refused=dict(site.refused),
                intermediate_bytes=site.savings[taken[site.id]].intermediate_bytes,
                moved_bytes=site.savings[taken[site.id]].moved_bytes,
            )
            for site in sites
        ],
        edges=[
            EdgeReport(
                name=outcome.edge.name,
                producer=outcome.edge.producer,
                consumer=outcome.edge.consumer,
                producer_class=_text(outcome.edge.producer_class),
                consumer_class=_text(outcome.edge.consumer_class),
                verdict=str(outcome.verdict),
                fused_class=_text(outcome.fused_class),
                fused=outcome.fused,
                reason=outcome.reason,
            )
            for outcome in outcomes(between, taken)
        ],
    )


def _text(found: object) -> str | None:
    return None if found is None else str(found)
