"""The fusion sites of a module, and rewriting it by a plan. The package's docstring tells how to use them."""

import dataclasses
from collections import Counter
from collections.abc import Mapping

from torch_mlir import ir

from secateur.passes.base import PassContext, PassFailure, walk

from .affine import LAYER_NORM_AFFINE
from .epilogues import ACTIVATION, ACTIVATION_OF_SUM, RESIDUAL
from .kinds import Found, Kind, Saving
from .projections import ATTENTION_SCALE, QKV

# In the order in which they are performed: weights are folded before they are merged, and an activation joins its
# layer before the residual that is added behind it, one of the sum after that.
KINDS: dict[str, Kind] = {
    k.name: k for k in (LAYER_NORM_AFFINE, ATTENTION_SCALE, QKV, ACTIVATION, RESIDUAL, ACTIVATION_OF_SUM)
}


@dataclasses.dataclass(frozen=True)
class Site:
    """A place where ops can be joined in several ways.

    `id` names it in this module; `signature` is equal for sites that are alike. `variants` are the legal ones in the
    order of preference, `default` the one with the largest gain (`Saving.gain`). `savings`: by variant. `refused`: the
    variants that are not legal here, with the reason. `found` and `op` are valid until the module is changed.
    """

    id: str
    kind: str
    signature: str
    variants: tuple[str, ...]
    default: str
    savings: Mapping[str, Saving]
    refused: Mapping[str, str]
    op: ir.OpView = dataclasses.field(compare=False, repr=False)
    found: Found = dataclasses.field(compare=False, repr=False)


def fusion_sites(module: ir.Module, context: PassContext) -> list[Site]:
    """The sites of a structural module, kind by kind, in program order. The module is not changed.

    Sites with one variant are listed too: `refused` says why they have no other.
    """
    sites = []
    taken: Counter[str] = Counter()
    for kind in KINDS.values():
        for op in walk(module, kind.anchor):
            found = kind.examine(op, context)
            if found is None:
                continue
            name = f"{kind.name}:{found.name}"
            taken[name] += 1
            legal = tuple(v for v in kind.variants if v in found.legal)
            sites.append(
                Site(
                    id=name if taken[name] == 1 else f"{name}#{taken[name]}",
                    kind=kind.name,
                    signature=f"{kind.name} {found.shape}",
                    variants=legal,
                    default=max(legal, key=lambda v, found=found: found.legal[v].gain()),  # type: ignore[misc]
                    savings=dict(found.legal),
                    refused=dict(found.refused),
                    op=op,
                    found=found,
                )
            )
    return sites


def chosen_variant(site: Site, plan: Mapping[str, str]) -> str:
    """What `plan` says of `site`: by its signature or id, else by its kind where that is legal here, else the default.

    Raises `PassFailure` for a variant that the site's kind does not have, or that is named for this very site
    and is not legal here.
    """
    accepted = KINDS[site.kind].variants
    for key in (site.id, site.signature, site.kind):
        if key not in plan:
            continue
        if plan[key] not in accepted:
            message = f"has no fusion variant '{plan[key]}'; accepted for {site.kind}: {', '.join(accepted)}"
            raise PassFailure(site.op, message)
        if plan[key] in site.variants:
            return plan[key]
        if key == site.id:
            raise PassFailure(site.op, f"cannot be fused as '{plan[key]}': {site.refused[plan[key]]}")
        return site.default
    return site.default


def apply(module: ir.Module, plan: Mapping[str, str], context: PassContext) -> dict[str, str]:
    """Brings every site into the variant that `plan` chooses for it; returns site id -> variant that it took.

    A site whose choice became impossible through another site's choice (a residual behind an activation that stays
    apart) takes the next variant that is legal. Counts what was fused by kind.
    """
    taken = {}
    for site in fusion_sites(module, context):
        kind, wanted = KINDS[site.kind], chosen_variant(site, plan)
        for variant in (wanted, *(v for v in site.variants if v != wanted)):
            if kind.perform(site.op, variant, context):
                break
        else:
            raise AssertionError(f"{site.id}: no variant is legal, not even the one that changes nothing")
        taken[site.id] = variant
        changes_nothing = variant in ("separate", "in-attention")
        if kind.name == "residual":
            context.count("residuals-fused", variant == "into-linear")
            context.count("layer-norms-fused", variant == "into-layer-norm")
        else:
            context.count(kind.statistic, not changes_nothing)
    return taken
