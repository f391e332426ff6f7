"""Why two neighbouring ops are fused or not: one sentence for every edge of the data flow."""

import dataclasses
from collections.abc import Iterator, Mapping

from torch_mlir import ir

from secateur.passes.base import walk

from .classes import CONSTANTS, MappingClass, Verdict, judge, mapping_class
from .readers import count_readers, label, readers
from .sites import Site

_SKIPPED = (*CONSTANTS, "func.func", "func.return", "builtin.module")


@dataclasses.dataclass(frozen=True)
class Edge:
    """A result that another op reads.

    `producer` and `consumer` are op names, `ends` their places in the module; the classes are None for ops that the
    table does not know. `site` is the id of the fusion site that the edge belongs to (empty: none), `variants` those
    that fuse it, `reason` why no (other) variant does.
    """

    producer: str
    consumer: str
    name: str
    ends: tuple[int, int]
    producer_class: MappingClass | None
    consumer_class: MappingClass | None
    site: str
    variants: tuple[str, ...]
    reason: str


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of an edge: the published verdict on it, the class of the fused op, whether it is fused, and why.

    The classes are those of the ops alone; `reason` goes by the fused op that each has become a part of.
    """

    edge: Edge
    verdict: Verdict
    fused_class: MappingClass | None
    fused: bool
    reason: str


def edges(module: ir.Module, sites: list[Site]) -> list[Edge]:
    """Every edge between two ops on tensors that are no constants, in program order of the consumers."""
    known = {}
    for site in sites:
        for pair in site.found.pairs:
            key = (pair.producer.operation, pair.consumer.operation)
            # The edge from one sum into another belongs to both sites; the one that can fuse it explains it.
            if key not in known or pair.variants:
                known[key] = (site.id, pair.variants, pair.reason)
    found = []
    places: dict[ir.Operation, int] = {}
    for place, consumer in enumerate(walk(module)):
        if not _computes(consumer):
            continue
        places[consumer.operation] = place
        for value in dict.fromkeys(consumer.operation.operands):
            if isinstance(value.owner, ir.Block) or value.owner not in places:
                continue
            producer = value.owner.opview
            belongs, variants, reason = known.get((producer.operation, consumer.operation), ("", (), ""))
            found.append(
                Edge(
                    producer=producer.operation.name,
                    consumer=consumer.operation.name,
                    name=f"{label(producer)} -> {label(consumer)}",
                    ends=(places[producer.operation], place),
                    producer_class=mapping_class(producer),
                    consumer_class=mapping_class(consumer),
                    site=belongs,
                    variants=variants,
                    reason=reason or _reason(producer, consumer, value),
                )
            )
    return found


def _computes(op: ir.OpView | ir.Operation) -> bool:
    """Whether an op at the top of a function makes a tensor from tensors."""
    operation = op.operation
    parent = operation.parent
    if operation.name in _SKIPPED or parent is None or parent.name != "func.func":
        return False
    return any(isinstance(result.type, ir.RankedTensorType) for result in operation.results)


def _reason(producer: ir.OpView, consumer: ir.OpView, value: ir.Value) -> str:
    """Why two ops whose classes would allow it are not fused."""
    names = [op.operation.name for op in (producer, consumer)]
    if not any(name.startswith("sparsity.") for name in names):
        return "left to IREE, which fuses linalg and tensor ops itself"
    if len(readers(value)) > 1:
        return count_readers(value)
    return f"no kernel computes '{names[0]}' and '{names[1]}' in one"


def outcomes(found: list[Edge], taken: Mapping[str, str]) -> Iterator[Outcome]:
    """What comes of each edge where the sites take the variants `taken`, by id."""
    groups: dict[int, int] = {}
    classes: dict[int, MappingClass | None] = {}
    for edge in found:
        for end, own in zip(edge.ends, (edge.producer_class, edge.consumer_class), strict=True):
            groups.setdefault(end, end)
            classes.setdefault(end, own)

    def group(end: int) -> int:
        while groups[end] != end:
            end = groups[end]
        return end

    for edge in found:
        if taken.get(edge.site) in edge.variants:
            first, second = map(group, edge.ends)
            classes[second] = judge(classes[first], classes[second])[1]
            groups[first] = second
    for edge in found:
        verdict, fused_class = judge(edge.producer_class, edge.consumer_class)
        variant = taken.get(edge.site, "")
        if variant in edge.variants:
            yield Outcome(edge, verdict, fused_class, True, f"{edge.site.partition(':')[0]}: {variant}")
            continue
        ends = [classes[group(end)] for end in edge.ends]
        if None in ends:
            missing = edge.producer if ends[0] is None else edge.consumer
            reason = f"'{missing}' has no mapping class"
        elif edge.variants:
            reason = f"'{variant}' was chosen; '{edge.variants[0]}' would fuse it"
        elif judge(*ends)[0] is Verdict.NEVER:
            reason = f"{ends[1]} after {ends[0]}: never profitable"
        else:
            reason = edge.reason
        yield Outcome(edge, verdict, fused_class, False, reason)
