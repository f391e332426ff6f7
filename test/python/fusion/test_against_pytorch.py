"""A pruned BERT, fused by each kind of plan and compiled, against PyTorch."""

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, RobertaPreLayerNormConfig, RobertaPreLayerNormModel

from secateur.compiler.pipeline.levels import Lowering, pipeline_to
from secateur.compiler.verify import comparison as verify
from secateur.compression.prune import parse_scheme, prune_model
from secateur.frontends import import_model
from secateur.runtime_targets import iree
from secateur.runtime_targets.targets import get_target
from secateur.runtime_targets.token_count import in_order

SIZES = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}


def bert() -> torch.nn.Module:
    return BertModel(BertConfig(**SIZES, vocab_size=50, max_position_embeddings=32))


def pre_norm() -> torch.nn.Module:
    # Layer norms come first here, so that only linears read them, and sums are read twice.
    config = RobertaPreLayerNormConfig(**SIZES, vocab_size=50, max_position_embeddings=32, pad_token_id=0)
    return RobertaPreLayerNormModel(config)


@pytest.mark.parametrize(
    ("make", "plan"),
    [
        (bert, "residual=into-layer-norm,qkv=merged-key-value"),
        (bert, "residual=separate,qkv=separate,activation=separate"),
        (pre_norm, ""),
        (pre_norm, "attention-scale=into-query,layer-norm-affine=into-linears"),
    ],
)
def test_every_plan_agrees_with_pytorch(make, plan, tmp_path):
    torch.manual_seed(0)
    model = prune_model(make().eval(), parse_scheme("bcr", "4x16"), 0.6)[0]
    for parameter in model.parameters():
        # Biases of zero and gammas of one would hide what is folded wrongly.
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, mean=0.5)
    ids = torch.randint(2, 50, (1, 16))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    imported = import_model(model, inputs)
    target = get_target("host-cpu", workers=1)
    lowering = Lowering(imported.module, imported.weights)
    lowering.lower("structural", pipeline_to("structural"))
    options = {"sparsity-fuse": {"plan": plan}} if plan else {}
    lowering.lower("scheduled", pipeline_to("scheduled", options=options))
    lowering.lower("kernels", pipeline_to("kernels"))
    counts = lowering.statistics["sparsity-fuse"]
    if "residual=separate" in plan:
        assert not counts["residuals-fused"] + counts["activations-fused"] + counts["attentions-merged"]
    else:
        assert counts["residuals-fused"] + counts["layer-norms-fused"] >= 2
    if "into-query" in plan:
        assert (counts["attention-scales-moved"], counts["layer-norm-affines-folded"]) == (1, 2)
    assembly = iree.assemble(lowering.module, lowering.weights)
    iree.write_parameters(tmp_path / "weights.irpa", assembly.parameters)
    session = iree.Session(iree.compile_assembly(assembly, target), tmp_path / "weights.irpa", threads=1)
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    found = session.run(in_order(imported.inputs, arrays))
    expected = verify.torch_outputs(model, arrays)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.linalg.norm(ours - theirs) <= 1e-5 * np.linalg.norm(theirs)
