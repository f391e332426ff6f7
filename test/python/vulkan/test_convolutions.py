"""Convolutions on GPUs, which have no kernel of their own for them."""

import pytest
import torch
from torch import nn

from secateur.compiler import compile_model


@pytest.mark.parametrize("target", ["vulkan-llvmpipe", "android-vulkan:valhall4"])
def test_convolutions_equal_pytorch(lavapipe, target):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(4, 6, 3, 2, 1, groups=2), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 3, 1)).eval()
    x = torch.randn(1, 4, 9, 6)
    # Lavapipe has the lanes that the target has.
    compiled = compile_model(module, {"input": x}, target=target, cache=False)
    (report,) = compiled.report.targets
    assert report.verification and all(difference.passed for difference in report.verification)
