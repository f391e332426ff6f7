"""A bundle's self-test: its stored input is run where the code is, and the output compared with the stored one."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from secateur.compiler.verify.comparison import compare
from secateur.dialects.errors import SecateurError
from secateur.dialects.number_formats import Tolerance
from secateur.runtime_targets.array_files import read_arrays
from secateur.runtime_targets.manifest import BundleError

if TYPE_CHECKING:
    from secateur.runtime_targets.bundle import Bundle
    from secateur.runtime_targets.devices import RemoteSession
    from secateur.runtime_targets.manifest import TensorSpec


class SelfTestError(SecateurError):
    """A deployed model gives other numbers than PyTorch gave; the text is one sentence with the figures."""


@dataclasses.dataclass(frozen=True)
class SelfTestResult:
    """The largest differences of any output from the stored one, as `verify.Difference` defines them, and what is
    accepted."""

    relative_l2: float
    scaled_max: float
    accepted: Tolerance

    def __str__(self) -> str:
        return (
            f"relative L2 {self.relative_l2:.1e} (accepted {self.accepted.relative_l2:.0e}), "
            f"scaled maximum {self.scaled_max:.1e} (accepted {self.accepted.scaled_max:.0e})"
        )


def stored_inputs(bundle: "Bundle") -> list[np.ndarray] | None:
    """The inputs of the self-test, in the model's order; None where the bundle has none. Raises `BundleError`."""
    test = bundle.manifest.self_test
    if test is None:
        return None
    return [_stored(bundle, *one) for one in zip(test.inputs, bundle.manifest.function().inputs, strict=True)]


def _stored(bundle: "Bundle", name: str, spec: "TensorSpec") -> np.ndarray:
    file = f"the file '{name}' of the self-test in '{bundle.folder}'"
    try:
        array = read_arrays(bundle.file(name))
    except ValueError as error:
        raise BundleError(f"{file} {error}") from None
    if isinstance(array, dict):
        raise BundleError(f"{file} holds several arrays; one is accepted")
    if (array.dtype.name, array.shape) != (spec.dtype, spec.shape):
        raise BundleError(
            f"{file} is {array.dtype.name} of shape {list(array.shape)}; '{spec.name}' is {spec.dtype} of shape "
            f"{list(spec.shape)}"
        )
    return array


def run_self_test(bundle: "Bundle", target: str, session: "RemoteSession") -> SelfTestResult | None:
    """Runs the stored inputs in `session`, the code for `target`; None where the bundle has no self-test.

    Raises `SelfTestError` where an output differs by more than the bundle accepts, or is not a number, and
    `BundleError` where a stored array is not one of the model.
    """
    test, inputs = bundle.manifest.self_test, stored_inputs(bundle)
    if test is None or inputs is None:
        return None
    accepted = Tolerance(**test.tolerances[target].model_dump())
    worst = (0.0, 0.0)
    for spec, found, name in zip(bundle.manifest.function().outputs, session.run(inputs), test.outputs, strict=True):
        expected = _stored(bundle, name, spec)
        difference = dataclasses.replace(compare("self-test", spec.name, found, expected), tolerance=accepted)
        if not difference.passed:
            raise SelfTestError(f"the code for target '{target}' fails its self-test: {difference}")
        worst = (max(worst[0], difference.relative_l2), max(worst[1], difference.scaled_max))
    return SelfTestResult(*worst, accepted)
