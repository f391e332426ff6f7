"""Activations that kernels hand on in f16: as exact as f16 is, half the bytes, and never silently infinite."""

import pytest
import torch
from torch import nn

from secateur.compiler import compile_model
from secateur.compiler.errors import CompileError
from secateur.compression.prune import parse_scheme, prune_model
from secateur.dialects.errors import SecateurError
from secateur.runtime_targets import iree
from secateur.runtime_targets.bundle import open_bundle
from secateur.runtime_targets.iree.lavapipe import LavapipeSession
from secateur.runtime_targets.iree.substituted_lanes import compile_with_lanes

LLVMPIPE = "vulkan-llvmpipe"
HALF = {"weights": "f16", "arithmetic": "f16"}


@pytest.mark.parametrize("block", ["16x1", "4x8"])
@pytest.mark.parametrize("target", ["vulkan-llvmpipe", "android-vulkan:valhall4"])
def test_a_model_in_f16(lavapipe, pruned_bert, inputs, tmp_path, target, block):
    """Verified against PyTorch with the weights as they are stored, and op by op."""
    torch.manual_seed(2)
    module = prune_model(type(pruned_bert)(pruned_bert.config).eval(), parse_scheme("bcr", block), 0.7)[0]
    passed_on = {}
    for name, numbers in (("f32", {"weights": "f16"}), ("f16", HALF)):
        compiled = compile_model(module, inputs, target=target, **numbers)
        compiled.save(tmp_path / name)
        (report,) = compiled.report.targets
        assert report.verification, report.unverified_reason
        with open_bundle(tmp_path / name) as bundle:
            work = [w for w in bundle.target().dispatches if w.kernel.startswith("gpu_")]
            passed_on[name] = sum(w.read_bytes + w.written_bytes for w in work)
    assert 1e-5 < max(difference.relative_l2 for difference in report.verification) < 2e-3
    assert report.ops_compared > 10 and report.ops_error < (2e-3 if target != LLVMPIPE else 1e-4)
    assert report.statistics["sparsity-half-activations"]["tensors"] >= 7
    # The embeddings' norm reads f32, as what lies before it is no kernel of ours.
    assert passed_on["f16"] < 0.65 * passed_on["f32"]


def test_adreno_code_made_for_16_lanes(lavapipe, build, error, expected):
    built = build("android-vulkan:adreno-740", numbers=("f16", "f16"))
    code = compile_with_lanes(built.assembly, built.target, 16)
    with LavapipeSession(code, built.parameters, 16) as session:
        assert error(session.run(built.arguments), expected) < 2e-3


class Attention(nn.Module):
    """Two heads of eight features; of a key two are not zero, and a hundred times those of the input."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(16, 16) for _ in range(4))
        with torch.no_grad():
            self.key.weight.copy_(100 * torch.eye(16) * (torch.arange(16) % 4 == 0))
            self.key.bias.zero_()
            # Queries and values do not depend on what makes keys large.
            for layer in (self.query, self.value):
                layer.weight[:, ::4] = 0
            self.query.bias.add_(3)

    def forward(self, x):
        heads = [layer(x).unflatten(-1, (2, 8)).transpose(1, 2) for layer in (self.query, self.key, self.value)]
        return self.out(nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))


class Relu(nn.Module):
    """Two layers."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)
        nn.init.normal_(self.first.weight, std=2.0)

    def forward(self, x):
        return self.second(self.first(x).relu())


class Cancelling(nn.Module):
    """A sum that is small, though the sum of its first half is beyond f16, and what makes a number of an infinity."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)
        nn.init.ones_(self.first.weight).data[:, 8:] *= -1

    def forward(self, x):
        return self.second(self.first(x).tanh())


@pytest.mark.parametrize(("pieces", "runs"), [(1, 3), (4, 1)])
def test_products_in_f16(lavapipe, pieces, runs):
    """300 columns are three runs of 128 for a thread that has all of them."""
    torch.manual_seed(4)
    layers = nn.Sequential(nn.Linear(300, 48), nn.GELU(), nn.Linear(48, 96)).eval()
    schedule = {"row_tile": 8, "column_pieces": pieces}
    target = {"target": "android-vulkan:valhall4", "schedule": schedule, **HALF}
    x = {"input": torch.randn(2, 50, 300)}
    text = compile_model(layers, x, compile_to="kernels", **target).ir
    kernel = text[text.index("func.func private @gpu_linear_48x300") :]
    assert ("arith.minui" in kernel[: kernel.index("return")]) == (runs > 1)
    (report,) = compile_model(layers, x, **target).report.targets
    assert report.statistics["sparsity-quantize"]["layers-with-sums-in-f16"] == 2
    assert report.verification, report.unverified_reason
    assert 1e-4 < max(difference.relative_l2 for difference in report.verification) < 5e-3


@pytest.mark.parametrize(
    ("make", "target", "kernel", "large"),
    [
        # Keys of minus infinity would be hidden: the result would be the bias of the last layer.
        (Attention, LLVMPIPE, "gpu_attention", -1e3),
        (Relu, LLVMPIPE, "gpu_linear", 6e4),
        # The way into panels is IREE's code.
        (Relu, LLVMPIPE, "gpu_linear", 1e6),
        # A sum of products in f16 is infinite in its middle; its hyperbolic tangent would be 1.
        (Cancelling, "android-vulkan:valhall4", "gpu_linear", 6e4),
    ],
)
def test_what_f16_cannot_hold_is_an_error(lavapipe, build, error, make, target, kernel, large):
    torch.manual_seed(0)
    module, x = make().eval(), torch.randn(1, 20, 16) / 10
    built = build(target, module=module, numbers=("f16", "f16"), given={"x": x})
    assert kernel in built.assembly.text
    code = iree.compile_assembly(built.assembly, built.target)
    with torch.no_grad():
        expected = [module(x).numpy()]
    with LavapipeSession(code, built.parameters, built.target.subgroup) as session:
        assert error(session.run(built.arguments), expected) < 2e-3
        built.arguments[0][..., ::4] = large
        with pytest.raises(iree.SessionError, match="beyond 65504, the largest number of f16"):
            session.run(built.arguments)


def test_a_model_that_overflows_is_not_compiled(lavapipe):
    module = Relu()
    with torch.no_grad():
        module.first.weight.fill_(6e4)
    with pytest.raises(SecateurError, match="compile it with --arithmetic f32"):
        compile_model(module.eval(), {"x": torch.randn(1, 20, 16)}, target="vulkan-llvmpipe", **HALF)


@pytest.mark.parametrize(("target", "options"), [("android-vulkan", {}), ("vulkan-llvmpipe", {"lowering": "portable"})])
def test_targets_without_it_are_refused(target, options):
    with pytest.raises(CompileError, match=r"numbers of 32 bits only|has no arithmetic in f16 that is used"):
        compile_model(nn.Linear(16, 16), {"input": torch.randn(1, 16)}, target=target, **options, **HALF)
