"""Mapping classes of ops, and which producer may be fused into which consumer.

An op is classed by how elements of its result depend on elements of its operands. The classes are those of
DNNFusion (Niu, Guan, Wang, Agrawal, Ren: "DNNFusion: Accelerating Deep Neural Networks Execution with Advanced
Operator Fusion", PLDI 2021, arXiv:2108.13342), section 3.1 and table 2; `LEGALITY` is its table 3 (section 3.2): rows
are the producer, columns the consumer, a cell holds the class of the fused op and whether fusing them pays. CANAO's
LP-Fusion (Niu, Kong, Yuan, Jiang, Guan, Ding, Zhao, Liu, Ren, Wang: "A Compression-Compilation Framework for On-mobile
Real-time BERT Applications", IJCAI 2021, arXiv:2106.00526) takes its candidates from the same two sources as this
package: mathematical properties of ops and how they access data.
"""

import enum

from torch_mlir import ir

from secateur.dialects.sparsity.operation import MappingClass
from secateur.dialects.sparsity.ops import OPS


class Verdict(enum.StrEnum):
    """What the published table says of a pair: fuse (green), depends on a measurement (yellow), never (red)."""

    FUSE = "fuse"
    DEPENDS = "depends"
    NEVER = "never"


_1, _N, _M, _R, _S = MappingClass
_FUSE, _DEPENDS, _NEVER = Verdict

LEGALITY: dict[tuple[MappingClass, MappingClass], tuple[Verdict, MappingClass | None]] = {
    (_1, _1): (_FUSE, _1),
    (_1, _N): (_FUSE, _N),
    (_1, _M): (_FUSE, _M),
    (_1, _R): (_FUSE, _R),
    (_1, _S): (_FUSE, _S),
    (_N, _1): (_FUSE, _N),
    (_N, _N): (_DEPENDS, _N),
    (_N, _M): (_NEVER, None),
    (_N, _R): (_DEPENDS, _N),
    (_N, _S): (_DEPENDS, _N),
    (_M, _1): (_FUSE, _M),
    (_M, _N): (_DEPENDS, _M),
    (_M, _M): (_NEVER, None),
    (_M, _R): (_DEPENDS, _M),
    (_M, _S): (_DEPENDS, _M),
    (_R, _1): (_FUSE, _R),
    (_R, _N): (_DEPENDS, _N),
    (_R, _M): (_DEPENDS, _M),
    (_R, _R): (_FUSE, _R),
    (_R, _S): (_FUSE, _R),
    (_S, _1): (_FUSE, _S),
    (_S, _N): (_DEPENDS, _N),
    (_S, _M): (_DEPENDS, _M),
    (_S, _R): (_FUSE, _R),
    (_S, _S): (_FUSE, _S),
}

# DNNFusion classes Gather (an embedding) and broadcasting as one-to-many, GEMM, InstanceNormalization and Softmax as
# many-to-many, Slice and Concat as one-to-one, Transpose as shuffle.
CLASSES: dict[str, MappingClass] = {
    **{name: op.MAPPING for name, op in OPS.items() if op.MAPPING is not None},
    "tensor.expand_shape": _R,
    "tensor.collapse_shape": _R,
    "tensor.reshape": _R,
    "tensor.cast": _R,
    "tensor.extract_slice": _1,
    "tensor.insert_slice": _1,
    "tensor.concat": _1,
    "tensor.pad": _1,
    "tensor.gather": _N,
    "tensor.splat": _N,
    "linalg.transpose": _S,
    "linalg.broadcast": _N,
    "linalg.reduce": _M,
    "linalg.softmax": _M,
    "linalg.matmul": _M,
    "linalg.batch_matmul": _M,
    "linalg.index": _1,
}

# Ops without data of their own: what reads them costs no pass over an intermediate.
CONSTANTS = ("sparsity.weight", "arith.constant", "tensor.empty", "linalg.fill", "util.global.load")


def mapping_class(op: ir.OpView | ir.Operation) -> MappingClass | None:
    """The class of `op`; None for a constant and for an op that the table does not know (it is never fused).

    A `linalg.generic` is classed by its loops and maps, element-wise `arith` and `math` ops on tensors are one-to-one.
    """
    name = op.operation.name
    if name == "linalg.generic":
        return _generic(op.operation)
    if name in CLASSES:
        return CLASSES[name]
    if name.startswith("linalg.conv") or name.startswith("linalg.pooling"):
        return _M
    results = list(op.operation.results)
    elementwise = name.startswith(("arith.", "math.")) and name not in CONSTANTS
    return _1 if elementwise and results and isinstance(results[0].type, ir.RankedTensorType) else None


def _generic(op: ir.Operation) -> MappingClass:
    loops = [str(kind) for kind in op.attributes["iterator_types"]]
    if any("parallel" not in loop for loop in loops):
        return _M
    body = op.regions[0].blocks[0]
    # A body that reads memory at an index that it computes is a gather.
    if any(inner.operation.name == "tensor.extract" for inner in body.operations):
        return _N
    inputs = next(iter(op.attributes["operandSegmentSizes"]))
    maps = [ir.AffineMapAttr(a).value for a in op.attributes["indexing_maps"]]
    result = maps[-1]
    classes = [_access(m, result) for m, v in zip(maps[:inputs], op.operands, strict=False) if not _is_constant(v)]
    order = (_N, _S, _R)
    return next((c for c in order if c in classes), _1)


def _access(source: ir.AffineMap, result: ir.AffineMap) -> MappingClass:
    if source == result:
        return _1
    # A size of one is written as the constant 0 in a map; it repeats the element as a missing dimension does.
    if source.n_dims and len(set(map(str, source.results))) < len(result.results):
        return _N
    return _S if source.is_permutation else _N


def _is_constant(value: ir.Value) -> bool:
    owner = value.owner
    return not isinstance(owner, ir.Block) and owner.name in CONSTANTS and value.type.rank == 0


def judge(producer: MappingClass | None, consumer: MappingClass | None) -> tuple[Verdict, MappingClass | None]:
    """The published verdict and the class of the fused op; `never` where an op has no class."""
    if producer is None or consumer is None:
        return Verdict.NEVER, None
    return LEGALITY[producer, consumer]
