"""Verification: the compiled model against PyTorch on random inputs, with and without padding.

The reference is the given module in evaluation mode on the same inputs. The cases: random inputs of the full length;
where the model takes an attention mask, the same with a third of the tokens masked, and of several sequences the last
one whole; where it has a token axis, a shorter sequence, which the run time pads; and one of few tokens that are masked
all, over which softmax takes the mean of what there is, padding excepted.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.compiler.errors import VerificationError
from secateur.dialects.number_formats import Tolerance
from secateur.runtime_targets.token_count import given_by_caller

if TYPE_CHECKING:
    import torch

    from secateur.frontends import TensorSpec

Arrays = dict[str, np.ndarray]

PADDED, MASKED = "padded", "masked"
"""The cases in which some sequence, and every sequence, has no token that may be attended to."""


# Rounding of one f32 model of some hundred ops in another order of summation stays a decade below these.
TOLERANCES = {
    "float64": Tolerance(1e-5, 1e-4),
    "float32": Tolerance(1e-5, 1e-4),
    "float16": Tolerance(5e-3, 2e-2),
    "bfloat16": Tolerance(3e-2, 1e-1),
}


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far one output of one case is from PyTorch."""

    case: str
    output: str
    relative_l2: float
    scaled_max: float
    tolerance: Tolerance

    @property
    def passed(self) -> bool:
        """False also where a figure is not a number."""
        return self.relative_l2 <= self.tolerance.relative_l2 and self.scaled_max <= self.tolerance.scaled_max

    def __str__(self) -> str:
        return (
            f"output '{self.output}' ({self.case}): relative L2 {self.relative_l2:.2e} "
            f"(accepted {self.tolerance.relative_l2:.0e}), scaled maximum {self.scaled_max:.2e} "
            f"(accepted {self.tolerance.scaled_max:.0e})"
        )


def compare(
    case: str, output: str, found: np.ndarray, expected: np.ndarray, accepted: Tolerance | None = None
) -> Difference:
    """Measures `found` against `expected`. A NaN on either side gives NaN figures, which never pass.

    Infinities agree where both sides have the same one. Integers and booleans must be equal. `accepted` of floats is
    by default that of their type.
    """
    tolerance = TOLERANCES.get(expected.dtype.name, Tolerance(0.0, 0.0))
    if accepted is not None and expected.dtype.name in TOLERANCES:
        tolerance = accepted
    if found.shape != expected.shape:
        raise VerificationError(
            f"output '{output}' ({case}) has shape {list(found.shape)}, PyTorch gives {list(expected.shape)}"
        )
    a, b = found.astype(np.float64), expected.astype(np.float64)
    if np.isnan(a).any() or np.isnan(b).any():
        return Difference(case, output, float("nan"), float("nan"), tolerance)
    same = a == b
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, a - b)
        finite = np.where(np.isfinite(b), b, 0.0)
    norm, largest = float(np.linalg.norm(finite)), float(np.max(np.abs(finite), initial=0.0))
    l2, maximum = float(np.linalg.norm(error)), float(np.max(np.abs(error), initial=0.0))
    # An output of zeros has no scale of its own: then the error counts as it is.
    return Difference(case, output, l2 / (norm or 1.0), maximum / (largest or 1.0), tolerance)


def sample(
    inputs: "Sequence[TensorSpec]",
    examples: Mapping[str, np.ndarray],
    config: Any,
    rng: np.random.Generator,
    length: int | None = None,
    masked_from: int | None = None,
) -> Arrays:
    """Random inputs of the declared types.

    Token ids are drawn from the vocabulary where `config` (a Hugging Face configuration or None) names its size,
    other integers from the values in `examples`, floats from a normal distribution. `length` shortens every token
    axis; with `masked_from`, attention masks are zero from that token on, and everywhere in the last of several
    sequences; else one everywhere.
    """
    drawn: Arrays = {}
    for spec in given_by_caller(inputs):
        shape = [length if axis == "tokens" and length else n for n, axis in zip(spec.shape, spec.axes, strict=True)]
        dtype = np.dtype(spec.dtype)
        if "mask" in spec.name and spec.axes and spec.axes[-1] == "tokens":
            value = np.ones(shape, dtype)
            if masked_from is not None:
                value[..., masked_from:] = 0
                if spec.axes[0] == "batch" and shape[0] > 1:
                    value[-1] = 0
        elif spec.name in ("input_ids", "decoder_input_ids") and getattr(config, "vocab_size", None):
            value = rng.integers(0, config.vocab_size, shape, dtype=dtype)
        elif spec.name == "token_type_ids" and getattr(config, "type_vocab_size", None):
            value = rng.integers(0, config.type_vocab_size, shape, dtype=dtype)
        elif np.issubdtype(dtype, np.floating):
            value = rng.standard_normal(shape).astype(dtype)
        elif spec.name == "position_ids":
            value = np.broadcast_to(np.arange(shape[-1], dtype=dtype), shape).copy()
        else:
            value = rng.choice(np.asarray(examples[spec.name]).reshape(-1), shape).astype(dtype)
        drawn[spec.name] = value
    return drawn


def cases(
    inputs: "Sequence[TensorSpec]", examples: Mapping[str, np.ndarray], config: Any, seed: int = 0
) -> dict[str, Arrays]:
    """Name of a case -> inputs. See the module's text for which there are."""
    rng = np.random.default_rng(seed)
    lengths = {n for spec in inputs for n, axis in zip(spec.shape, spec.axes, strict=True) if axis == "tokens"}
    found = {"random": sample(inputs, examples, config, rng)}
    if len(lengths) == 1 and (tokens := lengths.pop()) > 2:
        found["shorter"] = sample(inputs, examples, config, rng, length=tokens - tokens // 3 - 1)
        if any("mask" in spec.name for spec in inputs):
            found[PADDED] = sample(inputs, examples, config, rng, masked_from=tokens - tokens // 3)
            few = max(1, tokens // 8)
            found[MASKED] = sample(inputs, examples, config, rng, length=few, masked_from=0)
    return found


def torch_outputs(module: "torch.nn.Module", arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Runs `module` on named inputs; its tensor outputs in order, nested tuples and dicts flattened."""
    import torch

    from secateur.frontends.calling import call_by_name
    from secateur.frontends.flattening import flatten_output

    # Copies, because a module may write to its inputs.
    tensors = {name: torch.from_numpy(np.array(array, order="C")) for name, array in arrays.items()}
    with torch.no_grad():
        _, outputs, _ = flatten_output(call_by_name(module, tensors))
    return [tensor.detach().numpy() for tensor in outputs]


def verify(
    run: Callable[[Arrays], Sequence[np.ndarray]],
    reference: Callable[[Arrays], Sequence[np.ndarray]],
    inputs_by_case: Mapping[str, Arrays],
    output_names: Sequence[str],
    accepted: Tolerance | None = None,
) -> list[Difference]:
    """Compares `run` with `reference` on every case; all differences, those that pass too.

    Rows that may attend to nothing are left out where PyTorch has no number for them, and integers of a case with no
    others: which of equal numbers is the largest is a matter of rounding.
    """
    differences = []
    for case, arrays in inputs_by_case.items():
        found, expected = run(arrays), reference(arrays)
        if len(found) != len(expected):
            raise VerificationError(f"the compiled model has {len(found)} outputs, PyTorch gives {len(expected)}")
        for name, a, b in zip(output_names, found, expected, strict=True):
            a, floats = np.asarray(a), np.issubdtype(b.dtype, np.floating)
            if case == MASKED and not floats:
                continue
            if case in (PADDED, MASKED) and floats and a.shape == b.shape:
                undefined = np.isnan(b)
                a, b = np.where(undefined, 0, a).astype(a.dtype), np.where(undefined, 0, b).astype(b.dtype)
            differences.append(compare(case, name, a, b, accepted))
    return differences


def check(differences: Sequence[Difference], where: str = "") -> None:
    """Raises `VerificationError` with the figures of the worst difference, and `where`, unless all passed."""
    failed = [d for d in differences if not d.passed]
    if failed:
        worst = max(failed, key=lambda d: np.inf if np.isnan(d.relative_l2) else d.relative_l2)
        more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise VerificationError(
            f"the compiled model differs from PyTorch: {worst}{more}" + (f"; {where}" if where else "")
        )
