"""Padding never weighs: models with masks of every kind, on fewer tokens than compiled for, with rows that are masked
whole, beside PyTorch.
"""

import numpy as np
import pytest
import torch
from torch import nn

from secateur.compiler import compile_model

TOKENS, FEATURES, HEADS = 32, 32, 2
LOWEST = torch.finfo(torch.float32).min


class Attention(nn.Module):
    """Attention whose mask is applied in the way that `style` names."""

    def __init__(self, style):
        super().__init__()
        self.style = style
        self.qkv = nn.Linear(FEATURES, 3 * FEATURES)
        self.position = nn.Parameter(torch.randn(1, HEADS, TOKENS, TOKENS))
        # As long as the sequence, and no part of it.
        self.memory = nn.Parameter(torch.randn(1, TOKENS, FEATURES))

    def forward(self, x, attention_mask):
        batch, tokens, _ = x.shape
        seen = attention_mask[:, None, None, :] > 0
        if self.style == "pooling":
            scores = self.qkv(x)[..., :1].masked_fill(attention_mask[..., None] == 0, LOWEST)
            return (scores.softmax(1) * x).sum(1)
        q, k, v = (part.view(batch, tokens, HEADS, -1).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        if self.style == "memory":
            # Every token sees all of the memory, then what of the sequence is not masked.
            memory = self.memory.expand(batch, -1, -1).view(batch, TOKENS, HEADS, -1).transpose(1, 2)
            q = q + nn.functional.scaled_dot_product_attention(q, memory, memory)
        if self.style in ("boolean", "memory"):
            out = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        elif self.style == "additive 4-D":
            added = torch.where(seen, 0.0, LOWEST).expand(batch, 1, tokens, tokens)
            out = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=added)
        else:
            scores = q @ k.transpose(-1, -2) / 4.0
            if self.style == "position bias":
                scores = scores + self.position[:, :, :tokens, :tokens]
            if self.style == "causal":
                scores = scores + torch.full((tokens, tokens), LOWEST).triu(1)
                scores = scores.clamp(min=LOWEST)
            if self.style == "minus infinity":
                scores = scores.masked_fill(~seen, -torch.inf)
            else:
                scores = scores + (1.0 - seen.float()) * LOWEST
            out = scores.softmax(-1) @ v
        return out.transpose(1, 2).reshape(batch, tokens, FEATURES)


STYLES = ("finite", "minus infinity", "boolean", "additive 4-D", "position bias", "causal", "pooling", "memory")


@pytest.mark.parametrize(
    ("style", "lowering"), [(s, "kernels") for s in STYLES] + [(s, "portable") for s in STYLES[:2]]
)
def test_padding_never_weighs(style, lowering):
    torch.manual_seed(0)
    model = Attention(style).eval()
    x, mask = torch.randn(2, TOKENS, FEATURES), torch.ones(2, TOKENS, dtype=torch.int64)
    compiled = compile_model(model, {"x": x, "attention_mask": mask}, lowering=lowering, cache=False)
    assert {d.case for d in compiled.report.targets[0].verification} == {"random", "padded", "shorter", "masked"}
    mask[1] = 0
    for tokens in (TOKENS, 20, 9, 3):
        given = {"x": x[:, :tokens], "attention_mask": mask[:, :tokens]}
        with torch.no_grad():
            expected = model(**given).numpy()
        found = compiled.run({name: tensor.numpy() for name, tensor in given.items()})["output"]
        # With minus infinity PyTorch has no number for a row that attends to nothing.
        known = ~np.isnan(expected)
        assert known[0].all()
        np.testing.assert_allclose(found[known], expected[known], rtol=0, atol=2e-5)


def test_the_count_of_tokens_is_no_input_of_a_caller():
    model = Attention("boolean").eval()
    x, mask = torch.randn(1, TOKENS, FEATURES), torch.ones(1, TOKENS, dtype=torch.int64)
    compiled = compile_model(model, {"x": x, "attention_mask": mask}, verify=False)
    assert compiled.input_names == ["x", "attention_mask"]
    manifest = compiled.manifest
    assert [(s.name, s.shape, s.dtype, s.counts) for s in manifest.function().inputs[2:]] == [
        ("token_count", (1,), "int32", "tokens")
    ]
