"""What cannot be compiled is listed in one report, with its lines, before compilation starts."""

import inspect

import pytest
import torch

from secateur.frontends import FrontendError, import_model, unsupported_ops


@torch.library.custom_op("secateur_test::mystery", mutates_args=())
def mystery(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


@mystery.register_fake
def _(x):
    return torch.empty_like(x)


class Several(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Inner()

    def forward(self, x):
        y = self.inner(x)
        y = torch.special.bessel_j0(y)
        return torch.special.bessel_j0(y), torch.linalg.qr(y)[1]


class Inner(torch.nn.Module):
    def forward(self, x):
        return mystery(x)


def line_of(fragment):
    """The line of this file's classes that holds `fragment`."""
    lines, first = inspect.getsourcelines(Several)
    return first + next(index for index, line in enumerate(lines) if fragment in line)


def test_all_are_listed_with_their_lines():
    with pytest.raises(FrontendError) as raised:
        import_model(Several(), {"x": torch.randn(3, 4)})
    report = str(raised.value)
    assert "'Several' uses 4 op(s) that cannot be compiled" in report
    assert "secateur_test.mystery at " in report
    assert "in 'inner'" in report
    assert f"aten.special_bessel_j0 at {__file__}:{line_of('y = torch.special')}" in report
    assert f"aten.special_bessel_j0 at {__file__}:{line_of('return torch')}" in report
    assert f"aten.linalg_qr at {__file__}:{line_of('return torch')}" in report


def test_what_torch_mlir_knows_but_cannot_lower_is_listed_too():
    class Sorts(torch.nn.Module):
        def forward(self, x):
            return torch.sort(x)[0] + 1

    with pytest.raises(FrontendError, match=r"uses 1 op\(s\)(.|\n)*aten\.sort"):
        import_model(Sorts(), {"x": torch.randn(3, 1100)})


def test_nothing_is_listed_for_a_model_that_compiles(build, inputs):
    assert unsupported_ops(import_model(build("MobileBertModel"), inputs())) == []
