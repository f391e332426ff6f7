"""What every op of the dialect tells the compiler, beside its fields and its verifier."""

import enum
from typing import Self

from torch_mlir import ir
from torch_mlir.dialects import ext

from ..weight_store import WeightStore
from .attributes import to_attribute
from .dialect import Sparsity
from .reference_parts import Array, EvaluationError
from .work_parts import Flops, Tokens


class MappingClass(enum.StrEnum):
    """How elements of an op's result depend on elements of its operands: which ops may be fused follows from it.

    The classes are those of DNNFusion (Niu et al., PLDI 2021, arXiv:2108.13342), section 3.1.
    """

    ONE_TO_ONE = "one-to-one"
    ONE_TO_MANY = "one-to-many"
    MANY_TO_MANY = "many-to-many"
    REORGANISE = "reorganise"
    SHUFFLE = "shuffle"


class SparsityOp(Sparsity.Operation):
    """Base class of the ops. What a subclass leaves as it is here does not apply to it.

    The constants have no annotations: `ext` takes an annotated name for an operand, a result or an attribute.
    """

    OPTIONAL = ()
    """Names of the attributes that the op may have beside its fields."""
    MAPPING = None
    """The op's `MappingClass`; an op without one is never fused."""
    IN_PANELS = ()
    """The operands that are activations, which `sparsity-layout` moves into panels. The result is one then, too."""
    CONSTANTS = ()
    """The operands that hold weights, by which traffic is told from that of activations."""
    INDICES = ()
    """The operands that say where packed weights belong."""
    RAGGED = ()
    """The operands whose length depends on where the zeros are. A kernel takes any length of them."""
    ACCEPTED = None
    """How far code may be from `reference`, a `Tolerance`, where the op rounds on its way; None: as its type allows."""
    STORED = None
    """`(operand of weights, operand of their scales)`: what a number format is noted on. None in place of the second
    where weights are stored in fewer bits only after they are packed."""

    def reference(op, *operands: Array) -> Array:
        """The result in NumPy, what passes and kernels are checked against.

        Operands are passed by name, absent ones as None. Floats are computed in float64; `reference.evaluate` rounds
        the result once. Raises `EvaluationError` where contents break a rule that no verifier sees.
        """
        raise EvaluationError("has no reference")

    def flops(op, weights: WeightStore, tokens: Tokens) -> Flops | None:
        """The floating-point operations of the op at level 3; None where nobody counts them."""
        return None

    def result_type(**operands: ir.Value | None) -> ir.Type:
        """The type of the result for operands by name, where it follows from them: then `build` needs none."""
        raise TypeError("the type of the result must be given")

    @classmethod
    def build(cls, result: ir.Type | None = None, /, **fields: object) -> Self:
        """The op at the current insertion point, from its operands and attributes by name.

        `LinearOp.build(x=x, weight=w, bias=b, activation="gelu")`: attributes may be Python values, what is None is
        left out, and `result` is needed only where it does not follow from the operands (panels). Raises `TypeError`
        for a name that the op does not have and for one that it needs.
        """
        operands, attributes, _, _ = ext.partition_fields(cls._fields)
        given = {name: value for name, value in fields.items() if value is not None}
        values = {field.name: given.pop(field.name) for field in operands if field.name in given}
        own = {field.name: to_attribute(given.pop(field.name)) for field in attributes if field.name in given}
        for name in given:
            if name not in cls.OPTIONAL and "." not in name:
                known = ", ".join([*(field.name for field in (*operands, *attributes)), *cls.OPTIONAL])
                raise TypeError(f"'{cls.OPERATION_NAME}' has no field '{name}'; it has {known}")
        made = cls(cls.result_type(**values) if result is None else result, **values, **own)
        for name, value in given.items():
            made.attributes[name] = to_attribute(value)
        return made

    def rebuild(op, result: ir.Type | None = None, /, **changed: object) -> Self:
        """The op again at the current insertion point, with other fields: `op.rebuild(bias=None)` has no bias.

        Attributes that passes noted on `op` stay. The result has the type of `op`'s unless `result` says otherwise.
        The old op is left for the caller to replace and erase.
        """
        operands, _, _, _ = ext.partition_fields(type(op)._fields)
        fields = {field.name: getattr(op, field.name) for field in operands}
        fields |= {name: op.attributes[name] for name in op.attributes if name != "operandSegmentSizes"}
        return type(op).build(op.result.type if result is None else result, **{**fields, **changed})
