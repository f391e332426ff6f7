"""Operator fusion: what may be fused where, in which variants, and doing it.

A *site* is a place in a structural module where ops can be joined in more than one way. `fusion_sites` lists them,
`apply` rewrites the module by a plan. For an auto-tuner:

    from secateur.passes.structural.fusion import apply, fusion_sites, simplify

    simplify(module, context)                # rewrites that always pay; do them before sites are listed
    for site in fusion_sites(module, context):
        site.id          # 'residual:encoder.layer.0.output.dense', unique in the module
        site.signature   # equal for equal sites (all layers of a BERT): what a record is kept under
        site.variants    # ('into-linear', 'into-layer-norm', 'separate'): the legal ones
        site.default     # 'into-linear': by bytes moved
    apply(module, {site.signature: "into-layer-norm"}, context)

`context` is a `PassContext`; its weight store is read for signatures and gains merged weights. A plan maps a site's
signature, id or kind to a variant; the most specific key wins, sites that no key names take their default.
The pass is `sparsity-fuse{plan=...}`: a JSON file, `{"variants": {"<signature>": "<variant>", ...}}` (`write_plan`
writes one; keys that fit no site of this module are for other models and are skipped), or inline
`residual=into-layer-norm,qkv=separate`.

Kinds and variants (the first of equally good ones is the default):
    layer-norm-affine  separate | into-linears          gamma and beta folded into the linears that read the layer norm
    attention-scale    in-attention | into-query        the scale of the scores folded into the query's weight
    qkv                merged | merged-key-value | separate
    activation         into-linear | separate
    residual           into-linear | into-layer-norm | separate
"""

from .plan import PlanError, read_plan, write_plan
from .rewrites import REWRITES, simplify
from .sites import KINDS, Site, apply, fusion_sites

__all__ = [
    "KINDS",
    "REWRITES",
    "PlanError",
    "Site",
    "apply",
    "fusion_sites",
    "read_plan",
    "simplify",
    "write_plan",
]
