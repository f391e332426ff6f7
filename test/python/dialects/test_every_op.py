"""What is asked of every op of the dialect, read from its class and held against the rest of the compiler."""

import inspect

import pytest
from torch_mlir.dialects import ext

from secateur.dialects.sparsity.operation import MappingClass, SparsityOp
from secateur.dialects.sparsity.ops import OPS, WeightOp
from secateur.passes.kernels.linalg_ops import LOWERINGS

COMPUTED = {name: op for name, op in OPS.items() if op is not WeightOp}
PACKED = (
    "sparsity.packed_linear",
    "sparsity.packed_conv",
    "sparsity.sliced_linear",
    "sparsity.to_panels",
    "sparsity.from_panels",
)


def operands(op):
    return [field.name for field in ext.partition_fields(op._fields)[0]]


@pytest.mark.parametrize("name", COMPUTED)
def test_an_op_says_what_it_computes_and_how_it_may_be_fused(name) -> None:
    op = COMPUTED[name]
    assert op.reference is not SparsityOp.reference
    # `evaluate` passes operands by name, in their order.
    assert list(inspect.signature(op.reference).parameters)[1:] == operands(op)
    assert op.MAPPING in MappingClass
    assert name in LOWERINGS or name in PACKED, f"{name} has no lowering that works on every target"
    assert "Rejected" in op.__doc__ and "```mlir" in op.__doc__


@pytest.mark.parametrize("name", OPS)
def test_facts_name_operands_of_the_op(name) -> None:
    op = OPS[name]
    named = {*op.IN_PANELS, *op.CONSTANTS, *op.INDICES, *op.RAGGED, *filter(None, op.STORED or ())}
    assert named <= set(operands(op))
    assert set(op.RAGGED) <= {*op.CONSTANTS, *op.INDICES}
    assert not set(op.IN_PANELS) & {*op.CONSTANTS, *op.INDICES}
    if op.IN_PANELS:
        assert "layout" in op.OPTIONAL and op.flops is not SparsityOp.flops


def test_every_op_is_registered_once_and_documented() -> None:
    assert all(issubclass(op, SparsityOp) and name == op.OPERATION_NAME for name, op in OPS.items())
    made = {op for op in SparsityOp.__subclasses__() if op.__module__.startswith("secateur.")}
    assert made == set(OPS.values()), "an op's class is missing from dialects/sparsity/ops/__init__.py"
