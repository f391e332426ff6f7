"""What PyTorch computes for the inputs that compiled code is checked with; computed once for all targets."""

import io
from typing import TYPE_CHECKING

import numpy as np

from secateur.runtime_targets.token_count import in_order

from . import comparison as verify

if TYPE_CHECKING:
    from secateur.frontends import ImportedModel, Loaded
    from secateur.runtime_targets.manifest import SelfTest

# A stored pair serves to see that a device computes what it should, not to carry data.
_SELF_TEST_LIMIT_BYTES = 16 << 20


class ReferenceOutputs:
    """The inputs of every case of `verify.cases`, and the outputs of the module in evaluation mode.

    `accepted`: the difference from them that is accepted; None: what is for their types.
    """

    def __init__(self, loaded: "Loaded", imported: "ImportedModel", accepted: verify.Tolerance | None = None) -> None:
        self._loaded, self._imported, self.accepted = loaded, imported, accepted
        examples = {name: tensor.detach().cpu().numpy() for name, tensor in loaded.example_inputs.items()}
        self.cases = verify.cases(imported.inputs, examples, loaded.config)
        self._known: dict[int, list[np.ndarray]] = {}

    @property
    def loaded(self) -> "Loaded":
        """What the outputs are of."""
        return self._loaded

    def outputs(self, arrays: verify.Arrays) -> list[np.ndarray]:
        """The outputs in the order of the module's."""
        if id(arrays) not in self._known:
            self._known[id(arrays)] = verify.torch_outputs(self._loaded.module, arrays)
        return self._known[id(arrays)]

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
