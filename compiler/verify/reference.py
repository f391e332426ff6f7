"""What compiled code is compared with: inputs, and what PyTorch makes of them."""

import abc
from typing import TYPE_CHECKING

import numpy as np

from . import comparison as verify

if TYPE_CHECKING:
    from secateur.frontends import Loaded
    from secateur.runtime_targets.manifest import SelfTest
    from secateur.runtime_targets.runner import Runner


class Reference(abc.ABC):
    """The outputs of a module in evaluation mode on the inputs of every case; computed once for all targets.

    `accepted`: the difference from them that is accepted; None: what is for their types. `output_names` are those of
    the `outputs` of a case. `one_process`: calls find state that earlier ones left.
    """

    one_process = False

    def __init__(self, loaded: "Loaded", accepted: verify.Tolerance | None = None) -> None:
        self.loaded, self.accepted = loaded, accepted
        self.cases: dict[str, verify.Arrays] = {}
        self.output_names: list[str] = []
        self._known: dict[int, list[np.ndarray]] = {}

    @abc.abstractmethod
    def of(self, loaded: "Loaded", accepted: verify.Tolerance | None) -> "Reference":
        """The same of another module."""

    @abc.abstractmethod
    def differences(self, runner: "Runner") -> list[verify.Difference]:
        """How far the outputs of compiled code are from these, of every case."""

    def outputs(self, arrays: verify.Arrays) -> list[np.ndarray]:
        """The module's outputs in their order."""
        if id(arrays) not in self._known:
            self._known[id(arrays)] = self._computed(arrays)
        return self._known[id(arrays)]

    def _computed(self, arrays: verify.Arrays) -> list[np.ndarray]:
        return verify.torch_outputs(self.loaded.module, arrays)

    def positional(self, arrays: verify.Arrays) -> list[np.ndarray]:
        """The inputs in the order of the arguments of `main`, with the number of tokens."""
        raise NotImplementedError

    def self_test(self, targets: list[str]) -> "tuple[SelfTest, dict[str, bytes]] | None":
        """A bundle's self-test for `targets`, and its files; None where it has none."""
        return None
