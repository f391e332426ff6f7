"""What PyTorch computes for the inputs that compiled code is checked with; computed once for all targets."""

import io
from typing import TYPE_CHECKING

import numpy as np

from secateur.runtime_targets.token_count import in_order

from . import comparison as verify
from .reference import Reference

if TYPE_CHECKING:
    from secateur.frontends import ImportedModel, Loaded
    from secateur.runtime_targets.manifest import SelfTest
    from secateur.runtime_targets.runner import Runner

# A stored pair serves to see that a device computes what it should, not to carry data.
_SELF_TEST_LIMIT_BYTES = 16 << 20


class ReferenceOutputs(Reference):
    """The inputs of every case of `verify.cases`, and the outputs of the module for them."""

    def __init__(self, loaded: "Loaded", imported: "ImportedModel", accepted: verify.Tolerance | None = None) -> None:
        super().__init__(loaded, accepted)
        self._imported = imported
        examples = {name: tensor.detach().cpu().numpy() for name, tensor in loaded.example_inputs.items()}
        self.cases = verify.cases(imported.inputs, examples, loaded.config)
        self.output_names = [spec.name for spec in imported.outputs]

    def of(self, loaded: "Loaded", accepted: verify.Tolerance | None) -> "ReferenceOutputs":
        """The same of another module."""
        return ReferenceOutputs(loaded, self._imported, accepted)

    def differences(self, runner: "Runner") -> list[verify.Difference]:
        """How far the outputs of `main` are from these."""

        def run(arrays: verify.Arrays) -> list[np.ndarray]:
            return list(runner.run(arrays).values())

        return verify.verify(run, self.outputs, self.cases, self.output_names, self.accepted)

    def positional(self, arrays: verify.Arrays) -> list[np.ndarray]:
        """The inputs in the order of the module's arguments, with the number of tokens."""
        return in_order(self._imported.inputs, arrays)

    def self_test(self, targets: list[str]) -> "tuple[SelfTest, dict[str, bytes]] | None":
        """A bundle's self-test for `targets`, and its files; None where inputs and outputs are too large to carry.

        Inputs are of the full shape, with padding where the model takes a mask.
        """
        from secateur.runtime_targets.manifest import AcceptedDifference, SelfTest

        arrays = self.cases.get(verify.PADDED, self.cases["random"])
        outputs = self.outputs(arrays)
        if sum(array.nbytes for array in (*arrays.values(), *outputs)) > _SELF_TEST_LIMIT_BYTES:
            return None
        inputs = self.positional(arrays)
        files = {f"self-test/input-{i}.npy": _npy(array) for i, array in enumerate(inputs)}
        made = {f"self-test/output-{i}.npy": _npy(array) for i, array in enumerate(outputs)}
        accepted = [verify.compare("", "", array, array, self.accepted).tolerance for array in outputs]
        tolerance = AcceptedDifference(
            relative_l2=max(t.relative_l2 for t in accepted), scaled_max=max(t.scaled_max for t in accepted)
        )
        test = SelfTest(inputs=tuple(files), outputs=tuple(made), tolerances=dict.fromkeys(targets, tolerance))
        return test, {**files, **made}


def _npy(array: np.ndarray) -> bytes:
    data = io.BytesIO()
    np.save(data, np.ascontiguousarray(array), allow_pickle=False)
    return data.getvalue()
