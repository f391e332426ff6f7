"""Variances of equal and of distant values, through the compiler, against float64."""

import numpy as np
import pytest
import torch
from torch import nn

from secateur.compiler import compile_model

EPSILON = 1e-12


class Norms(nn.Module):
    """Every way to a variance that torch-mlir decomposes."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        mean = x.mean(-1, keepdim=True)
        norm = nn.functional
        variance, average = torch.var_mean(x, 1)
        kept = torch.var_mean(x, (1, 2), keepdim=True)
        return {
            "layer norm over two axes": norm.layer_norm(x, x.shape[1:], eps=EPSILON),
            "group norm": norm.group_norm(x, 4, torch.arange(8.0, dtype=x.dtype), eps=EPSILON),
            "instance norm": norm.instance_norm(x, eps=EPSILON),
            "batch norm": norm.batch_norm(x, None, None, training=True, eps=EPSILON),
            "variance": x.var(-1),
            "biased variance of all": x.var(correction=0)[None],
            "standard deviation": x.std((0, 2), keepdim=True),
            "variance with mean": variance,
            "mean": average,
            "kept mean": kept[1],
            "by hand": (x - mean) / torch.sqrt(((x - mean) ** 2).mean(-1, keepdim=True) + EPSILON),
        }


@pytest.fixture(scope="module")
def compiled():
    return compile_model(Norms().eval(), {"x": torch.zeros(1, 8, 49)})


@pytest.mark.parametrize("constant", [0.7, 1234.6, -3e4])
def test_equal_values_have_no_variance(compiled, constant):
    x = torch.full((1, 8, 49), constant)
    for name, found in compiled(x=x).items():
        expected = x[0, 0, 0] if "mean" in name and "variance" not in name else 0
        np.testing.assert_array_equal(found, np.full_like(found, expected), err_msg=name)


@pytest.mark.parametrize(("offset", "spread"), [(1e4, 1e-2), (-3e5, 1.0), (0.0, 1e-3), (2.0, 1.0)])
def test_an_offset_costs_no_digits(compiled, offset, spread):
    torch.manual_seed(0)
    x = offset + spread * torch.randn(1, 8, 49)
    for name, expected in Norms()(x.double()).items():
        found = compiled(x=x)[name].double()
        scale = float(expected.abs().max())
        assert float((found - expected).abs().max()) < 5e-6 * scale, name
