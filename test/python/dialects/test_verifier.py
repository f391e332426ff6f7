"""The hook around the rules of ops."""

import pytest
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.compiler.pipeline.diagnostics import DiagnosticLog
from secateur.dialects.sparsity.dialect import verifier
from secateur.dialects.sparsity.ops.add import AddOp


@pytest.mark.parametrize("fault", [IndexError, KeyError, AttributeError])
def test_a_fault_in_a_rule_is_no_verdict(fault):
    def rule(op: ir.OpView) -> None:
        raise fault("a name that is not there")

    with make_context() as context, ir.Location.unknown():
        kind = ir.Type.parse("tensor<2x4xf32>")
        module = ir.Module.parse("func.func @f(%x: tensor<2x4xf32>) { return }")
        block = module.body.operations[0].regions[0].blocks[0]
        with ir.InsertionPoint.at_block_begin(block):
            op = AddOp(kind, block.arguments[0], block.arguments[0])
        with DiagnosticLog(context) as log:
            assert verifier(rule).__func__(op) is False
        message = f"'sparsity.add' op cannot be verified, its rule fails with {fault.__name__}"
        assert [d.message.startswith(message) for d in log] == [True]
        assert verifier(lambda op: None).__func__(op) is True
