"""Convolutions of any shape, stride, padding, dilation, group and scheme beside PyTorch, on every kind of target."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from secateur.compiler import compile_model
from secateur.compiler.errors import CompileError

KINDS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class Net(nn.Module):
    """Two convolutions, the second with a residual where shapes allow."""

    def __init__(self, case: dict) -> None:
        super().__init__()
        torch.manual_seed(case["seed"])
        kind, size = KINDS[case["dimensions"]], case["channels"] * case["groups"]
        filters = case["filters"] * case["groups"]
        shape = {name: case[name] for name in ("stride", "padding", "dilation", "groups", "bias")}
        self.first = kind(size, filters, case["kernel"], **shape)
        self.norm = NORMS[case["dimensions"]](filters) if case["norm"] else None
        if self.norm is not None:
            with torch.no_grad():
                for array in (self.norm.weight, self.norm.bias, self.norm.running_mean):
                    array.normal_()
                self.norm.running_var.uniform_(0.5, 2)
        # Any odd kernel keeps the sizes.
        self.second = kind(filters, filters, case["inner"], padding=case["inner"] // 2)
        self.before = case["before"]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        if self.norm is not None:
            y = self.norm(y)
        z = self.second(torch.relu(y))
        return torch.relu(z + y) if self.before else torch.nn.functional.silu(z) + y


def prune(module: nn.Module, scheme: str, generator: torch.Generator) -> None:
    """Random zeros: single weights, bands of four filters, kernel positions of blocks, or none."""
    with torch.no_grad():
        for layer in (module.first, module.second):
            weight = layer.weight
            filters, channels = weight.shape[:2]
            flat = torch.rand(filters, channels, math.prod(weight.shape[2:]), generator=generator)
            step = {"single": (1, 1), "bands": (4, 1), "punched": (4, 2)}.get(scheme)
            if step is None:
                continue
            blocks = flat[:: step[0], :: step[1]]
            flat = blocks.repeat_interleave(step[0], 0)[:filters].repeat_interleave(step[1], 1)[:, :channels]
            weight.mul_((flat < 0.3).reshape(weight.shape))


def case(**given) -> dict:
    usual = {
        **{"dimensions": 2, "sizes": (7, 9), "channels": 3, "filters": 5, "groups": 1, "kernel": 3, "stride": 1},
        **{"padding": 1, "dilation": 1, "bias": True, "norm": False, "inner": 3, "before": True, "batch": 1},
        **{"scheme": "bands", "seed": 0},
    }
    return usual | given


@st.composite
def cases(draw) -> dict:
    dimensions = draw(st.integers(1, 3))
    found = case(
        dimensions=dimensions,
        kernel=draw(st.integers(1, 4)),
        stride=draw(st.integers(1, 3)),
        padding=draw(st.integers(0, 3)),
        dilation=draw(st.integers(1, 2)),
        groups=draw(st.integers(1, 3)),
        channels=draw(st.integers(1, 5)),
        filters=draw(st.integers(1, 9)),
        bias=draw(st.booleans()),
        norm=draw(st.booleans()),
        inner=draw(st.sampled_from((1, 3))),
        before=draw(st.booleans()),
        batch=draw(st.integers(1, 2)),
        scheme=draw(st.sampled_from(("dense", "single", "bands", "punched"))),
        seed=draw(st.integers(0, 99)),
    )
    # At least one window fits.
    least = max(1, (found["kernel"] - 1) * found["dilation"] + 1 - 2 * found["padding"])
    found["sizes"] = tuple(draw(st.integers(least, least + 9)) for _ in range(dimensions))
    return found


def built(found: dict) -> tuple[Net, torch.Tensor]:
    module = Net(found).eval()
    prune(module, found["scheme"], torch.Generator().manual_seed(found["seed"]))
    torch.manual_seed(found["seed"] + 1)
    return module, torch.randn(found["batch"], found["channels"] * found["groups"], *found["sizes"])


def error(module: nn.Module, x: torch.Tensor, name: str = "x", **options) -> float:
    compiled = compile_model(module, {name: x}, verify=False, cache=False, **options)
    with torch.no_grad():
        expected = module.double()(x.double()).numpy()
    module.float()
    (found,) = compiled.run({name: x.numpy()}).values()
    return float(np.linalg.norm(found - expected) / max(np.linalg.norm(expected), 1e-30))


@settings(max_examples=8, deadline=None)
@given(cases())
@example(case(dimensions=1, sizes=(1,), channels=1, filters=1, kernel=1, padding=0, inner=1))
@example(case(sizes=(1, 1), stride=2, scheme="dense"))
@example(case(sizes=(17, 5), stride=3, padding=3, kernel=4, dilation=2, scheme="punched"))
@example(case(dimensions=3, sizes=(3, 5, 4), stride=2, groups=2, norm=True))
# Positions of the kernel that meet no pixel, several of them the same zero.
@example(case(dimensions=3, sizes=(3, 10, 1), channels=1, filters=3, stride=2, padding=2, dilation=2, scheme="single"))
@example(case(sizes=(20, 20), groups=3, channels=1, filters=1, scheme="single", batch=2))
def test_kernels_equal_pytorch(found):
    module, x = built(found)
    assert error(module, x) < 1e-5


@settings(max_examples=4, deadline=None)
@given(cases())
@example(case(dimensions=3, sizes=(3, 5, 4), stride=2, groups=2, norm=True))
def test_the_portable_lowering_equals_pytorch(found):
    module, x = built(found)
    assert error(module, x, lowering="portable") < 1e-5


POOLS = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}


@pytest.mark.parametrize(
    ("dimensions", "sizes", "kernel", "stride", "padding", "dilation", "activation"),
    [
        (2, (23, 40), 3, 2, 1, 1, nn.ReLU()),
        (2, (9, 35), 2, 2, 0, 1, nn.ReLU()),
        (2, (7, 21), 3, 1, 1, 2, nn.Sigmoid()),
        (2, (8, 8), 3, 2, 1, 1, nn.SiLU()),
        (1, (70,), 4, 3, 2, 1, nn.ReLU()),
        (3, (4, 5, 18), 2, 1, 1, 1, nn.ReLU()),
    ],
)
@pytest.mark.parametrize("lowering", [None, "portable"])
def test_pooling_equals_pytorch(dimensions, sizes, kernel, stride, padding, dilation, activation, lowering):
    torch.manual_seed(0)
    kind, pool = KINDS[dimensions], POOLS[dimensions](kernel, stride, padding, dilation)
    module = nn.Sequential(kind(3, 5, 3, padding=1), activation, pool, kind(5, 4, 3, padding=1)).eval()
    assert error(module, torch.randn(2, 3, *sizes), name="input", lowering=lowering) < 1e-5


@pytest.mark.parametrize("pixels", [16, 24, 100])
def test_blocks_of_pixels_of_any_size_equal_pytorch(pixels):
    module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()).eval()
    x = torch.randn(1, 3, 12, 15)
    assert error(module, x, name="input", schedule={"pixels": pixels, "token_vectors": 2}) < 1e-5


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)),
        (nn.BatchNorm2d(3, affine=False), nn.Conv2d(3, 4, 3)),
        (nn.Conv2d(3, 4, 2, padding="same"), nn.Conv2d(4, 4, 3, padding="same")),
    ],
    ids=["norm without weight", "norm in front", "same"],
)
def test_what_is_not_folded_or_padded_alike_equals_pytorch(layers):
    torch.manual_seed(0)
    module = nn.Sequential(*layers).eval()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    assert error(module, torch.randn(2, 3, 8, 10), name="input") < 1e-5


def test_an_image_without_a_batch_is_refused_with_a_sentence():
    with pytest.raises(
        CompileError, match=r"expected x \[batch, channels, sizes...\] of a convolution, found \[3, 8, 8"
    ):
        compile_model(nn.Conv2d(3, 4, 3).eval(), {"input": torch.randn(3, 8, 8)}, cache=False)


def test_a_maximum_of_negative_numbers_is_not_taken_among_zeros():
    module = nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(3, 2, 1)).eval()
    with torch.no_grad():
        module[0].weight.fill_(-1.0)
        module[0].bias.fill_(-1.0)
    x = torch.rand(1, 1, 8, 8)
    (found,) = compile_model(module, {"input": x}, cache=False).run({"input": x.numpy()}).values()
    assert (found < 0).all()


@pytest.mark.parametrize("stride", [1, 2])
def test_emulated_arm_equals_pytorch(stride):
    module, x = built(case(sizes=(13, 11), stride=stride, filters=8, norm=True))
    compiled = compile_model(module, {"x": x}, target="android-arm64:cortex-a76", cache=False)
    (report,) = compiled.report.targets
    assert report.verification and all(difference.passed for difference in report.verification)


def test_convolutions_that_follow_each_other_copy_nothing_in_between():
    layers = itertools.chain.from_iterable((nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()) for _ in range(4))
    module = nn.Sequential(*layers).eval()
    compiled = compile_model(module, {"input": torch.randn(1, 4, 8, 8)}, compile_to="scheduled", cache=False)
    assert compiled.ir.count('"sparsity.packed_conv"') == 4
    assert compiled.ir.count('"sparsity.to_planes"') == compiled.ir.count('"sparsity.from_planes"') == 1
