"""Sums over calibration inputs."""

import torch

from secateur.compression.prune.second_order.calibration import _accumulate


def test_an_input_that_varies_little_around_a_large_mean_keeps_its_variance():
    x = 1000 + 0.1 * torch.randn(4096, 3, generator=torch.Generator().manual_seed(0))
    sums = []
    _accumulate(sums, [x[:2048]])
    _accumulate(sums, [x[2048:]])
    expected = torch.cov(x.double().T, correction=0) * len(x)
    torch.testing.assert_close(sums[0].centred(), expected, rtol=1e-3, atol=1e-3 * float(expected.max()))
    torch.testing.assert_close(sums[0].second, x.double().T @ x.double(), rtol=1e-9, atol=0)
