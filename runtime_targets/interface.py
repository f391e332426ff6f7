"""What a module was compiled with: its functions, state, parameters and machine, as its own file tells them.

The compiler writes it into the module, beside the code. A manifest is a text that anybody can write anew with a hash
that fits; what both of them tell is compared before anything runs.
"""

import dataclasses
import json
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.dialects.entry_points import MAIN

from .manifest import MANIFEST, BundleError, Function, Manifest, TargetFiles

if TYPE_CHECKING:
    from .targets import Target

_SIDES = ("inputs", "outputs")
_TARGET_FIELDS = ("architecture", "backend", "cpu_features")


@dataclasses.dataclass(frozen=True)
class StoredParameter:
    """The bytes of a parameter, and their CRC-32 where they are numbers by which a kernel finds others (else None)."""

    size_bytes: int
    crc32: int | None

    @classmethod
    def of(cls, array: np.ndarray) -> "StoredParameter":
        """Columns, bounds and offsets are integers of 2 bytes or more: a wrong one would be read as an address."""
        is_place = array.dtype.kind in "iu" and array.dtype.itemsize > 1
        return cls(
            array.nbytes, zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8)) if is_place else None
        )


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a module says of one of its functions, and of itself.

    A side holds an entry for every tensor: `dtype` and `shape` (-1: any size), and where it was compiled for a bundle
    all other fields of a `TensorSpec`; the fields below are then there too.

    `subgroup`: the lanes of a GPU that the code relies on. `activations`: "f16" where kernels hand them on in f16, so
    that a result is no number where one of them is beyond what f16 holds. `target`: architecture, backend and CPU
    features. `state`: dtype and shape of what stays from call to call, by name. These and `parameters` are those of the
    whole module.
    """

    inputs: tuple[Mapping[str, Any], ...]
    outputs: tuple[Mapping[str, Any], ...]
    output_form: str | None = None
    subgroup: int | None = None
    activations: str | None = None
    target: Mapping[str, Any] | None = None
    parameters: Mapping[str, StoredParameter] | None = None
    state: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def dumps(self) -> str:
        """As the text that a module carries."""
        value = {"inputs": self.inputs, "outputs": self.outputs}
        for name in ("output_form", "subgroup", "activations", "target"):
            if (found := getattr(self, name)) is not None:
                value[name] = found
        if self.state:
            value["state"] = self.state
        if self.parameters is not None:
            value["parameters"] = {n: dataclasses.astuple(p) for n, p in sorted(self.parameters.items())}
        return json.dumps(value, separators=(",", ":"))

    @classmethod
    def loads(cls, text: str) -> "Signature":
        """From the text; modules of 0.1.0 hold pairs of dtype and shape. Raises `ValueError` for any other text."""
        try:
            value = json.loads(text)
            parameters = value.get("parameters")
            return cls(
                *(tuple(map(_entry, value[side])) for side in ("inputs", "outputs")),
                output_form=value.get("output_form"),
                subgroup=value.get("subgroup"),
                activations=value.get("activations"),
                target=value.get("target"),
                state=value.get("state", {}),
                parameters=None if parameters is None else {n: StoredParameter(*p) for n, p in parameters.items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"its signature is not of this compiler ({type(error).__name__})") from None

    def types(self, side: str) -> list[tuple[str, tuple[int, ...]]]:
        """dtype name and shape of every tensor of "inputs" or "outputs"."""
        return [(entry["dtype"], tuple(entry["shape"])) for entry in getattr(self, side)]


def _entry(value: Any) -> Mapping[str, Any]:
    dtype, shape = (value["dtype"], value["shape"]) if isinstance(value, dict) else value
    return {**(value if isinstance(value, dict) else {}), "dtype": dtype, "shape": [int(size) for size in shape]}


def full_signature(
    types: Signature, function: Function, target: "Target | None", parameters: Mapping[str, np.ndarray]
) -> Signature:
    """`types`, that of a module's function, with all that the caller and the archives must agree with.

    Raises `ValueError` where the types are not those of `function`, which says how it is called.
    """
    sides = {side: tuple(spec.model_dump(mode="json") for spec in getattr(function, side)) for side in _SIDES}
    for side, specs in sides.items():
        if [(s["dtype"], tuple(s["shape"])) for s in specs] != types.types(side):
            raise ValueError(f"its {side} are {types.types(side)}, and the model's are {specs}")
    fields = None if target is None else {name: _plain(getattr(target, name)) for name in _TARGET_FIELDS}
    stored = {name: StoredParameter.of(array) for name, array in parameters.items()}
    return dataclasses.replace(types, **sides, output_form=function.output_form, target=fields, parameters=stored)  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def check_manifest(manifest: Manifest, target: TargetFiles, signatures: Mapping[str, Signature]) -> None:
    """Raises `BundleError` at the first thing that the manifest and the module of a target tell differently.

    `signatures`: those of the module's functions, by name.
    """
    module = f"the module '{target.module}'"
    for name in sorted(manifest.functions.keys() ^ signatures.keys()):
        if name in signatures:
            raise BundleError(f"{module} has the function '{name}', which the {MANIFEST} does not list")
        raise BundleError(f"the {MANIFEST} lists the function '{name}', which {module} does not have")
    for name, signature in sorted(signatures.items()):
        _check_function(manifest.functions[name], signature, "" if name == MAIN else f" of '{name}'", module)
        told = {state: spec.model_dump(mode="json") for state, spec in manifest.state.items()}
        _compare({"state": told}, {"state": dict(signature.state)}, "model", module)
        if signature.target is not None:
            told = {field: _plain(getattr(target, field)) for field in (*_TARGET_FIELDS, "subgroup")}
            _compare(told, {**signature.target, "subgroup": signature.subgroup}, f"target '{target.name}'", module)


def _check_function(function: Function, signature: Signature, of: str, module: str) -> None:
    for side in _SIDES:
        specs, entries = getattr(function, side), getattr(signature, side)
        if len(specs) != len(entries):
            raise BundleError(
                f"the {MANIFEST} lists {len(specs)} {side}{of}, and {module} was compiled with {len(entries)}"
            )
        for position, (spec, entry) in enumerate(zip(specs, entries, strict=True)):
            told = spec.model_dump(mode="json")
            _compare(told, entry, f"{side[:-1]} {position}{of}", module)
    if signature.output_form is not None:
        _compare({"output_form": function.output_form}, {"output_form": signature.output_form}, f"model{of}", module)


def _compare(told: Mapping[str, Any], compiled: Mapping[str, Any], what: str, module: str) -> None:
    for field, value in compiled.items():
        if told.get(field) != value:
            name = field.replace("_", " ")
            raise BundleError(
                f"the {MANIFEST} gives the {what} the {name} {_shown(told.get(field))}, and {module} was compiled with "
                f"{_shown(value)}"
            )


def _shown(value: Any) -> str:
    text = "none" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


def check_parameters(found: Mapping[str, int], signature: Signature, target: TargetFiles) -> None:
    """Raises `BundleError` unless the archives of a target hold (`found`: name -> bytes) what its module reads."""
    if signature.parameters is None:
        return
    where, module = f"the archives of target '{target.name}'", f"the module '{target.module}'"
    for name in sorted(found.keys() ^ signature.parameters.keys()):
        if name in found:
            raise BundleError(f"{where} hold the parameter '{name}', which {module} does not read")
        raise BundleError(f"{where} lack the parameter '{name}', which {module} reads")
    for name, stored in sorted(signature.parameters.items()):
        if found[name] != stored.size_bytes:
            raise BundleError(
                f"{where} hold {found[name]} bytes of the parameter '{name}', and {module} reads {stored.size_bytes}"
            )
