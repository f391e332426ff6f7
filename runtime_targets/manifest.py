"""The manifest of a bundle: what it holds, for which machines, and the hash of every file."""

import hashlib
import json
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from secateur.dialects.entry_points import MAIN, RESET
from secateur.dialects.errors import SecateurError

from .found_instead import MANIFEST
from .function_spec import NOTHING, Count, Function, Part, StateSpec, TensorSpec

__all__ = ["MANIFEST", "NOTHING", "Function", "Manifest", "StateSpec", "TensorSpec"]

SCHEMA_VERSION = 5
FORMAT = "secateur-bundle"


class BundleError(SecateurError):
    """A bundle cannot be written, opened or run here; the text is one sentence with the file and the fault."""


def _relative(path: str) -> str:
    parts = path.split("/")
    if any(p in ("", ".", "..") for p in parts) or re.search(r"[\\:\x00-\x1f]", path) or path == MANIFEST:
        raise ValueError(f"{path!r} is no path of a file inside the bundle")
    return path


RelativePath = Annotated[str, AfterValidator(_relative)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Fraction = Annotated[float, Field(ge=0, le=1)]


class ModelInfo(Part):
    """The model's name and the SHA-256 of what it was made of."""

    name: str
    sha256: Sha256


class DispatchWork(Part):
    """One call of a dispatch: its kernel, the modules of the model it works for, its work.

    `flops`: operations that the result needs (None: not known), `byte_flops`: those of them that multiply bytes and
    sum the products, `padding_flops`: those on zeros, repeated rows and tokens that fill a panel. Bytes: every array
    once, by what it is.
    """

    kernel: str
    paths: tuple[str, ...] = ()
    flops: Count | None = None
    byte_flops: Count = 0
    padding_flops: Count = 0
    weight_bytes: Count = 0
    index_bytes: Count = 0
    read_bytes: Count = 0
    written_bytes: Count = 0


class TargetFiles(Part):
    """The code for one target, and the machines that can run it.

    `parameters`: the archives that the module reads, all under one scope; no symbol is in two of them. Targets that
    have arrays in common name the same archive (before schema version 3: one path, or none). `architecture`: "vulkan"
    for a GPU, whose code relies on `subgroup` lanes (None: on no number); `cpu_features`: names of /proc/cpuinfo;
    `workers`: the threads its workgroups were made for; `note`: what is known of its correctness ("verified against
    PyTorch ...", "unverified: ..."); `dispatches`: the work of every call of a dispatch, in program order (schema
    version 2; empty in older bundles).
    """

    name: str
    module: RelativePath
    parameters: tuple[RelativePath, ...] = ()
    architecture: str
    backend: Literal["llvm-cpu", "vulkan"] = "llvm-cpu"
    subgroup: Annotated[int, Field(ge=1)] | None = None
    cpu_features: tuple[str, ...] = ()
    workers: Annotated[int, Field(ge=1)] = 1
    note: str
    dispatches: tuple[DispatchWork, ...] = ()

    @model_validator(mode="after")
    def _once(self) -> "TargetFiles":
        if len(set(self.parameters)) != len(self.parameters):
            raise ValueError(f"'{self.name}' names a parameter archive twice")
        return self


class AcceptedDifference(Part):
    """The relative L2 distance, and the largest difference over the largest value, that an output may have."""

    relative_l2: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    scaled_max: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class SelfTest(Part):
    """What a device must compute: `.npy` files of inputs of the full shape, and of what PyTorch makes of them.

    `inputs` and `outputs` are in the model's order; `tolerances` holds what each target accepts, by its name.
    """

    inputs: tuple[RelativePath, ...]
    outputs: tuple[RelativePath, ...]
    tolerances: dict[str, AcceptedDifference]


class LayerSparsity(Part):
    """A linear layer: weight [rows, columns], the encoding of its zeros, the fraction (0..1) that is zero."""

    name: str
    rows: Count
    columns: Count
    encoding: str
    sparsity_fraction: Fraction


class FileEntry(Part):
    """Size in bytes and SHA-256 of a file."""

    size_bytes: Count
    sha256: Sha256


class Manifest(Part):
    """All of `manifest.json`. `files` is filled in when the bundle is written.

    `functions`: what can be called, by name; `main` is what is called where no function is named. `state`: the tensors
    that stay from call to call, by name; a model that has any has a function `reset`, which takes and returns nothing.
    (Before schema version 5: one function's inputs, outputs and form, and no state.) `self_test` is one of `main`.
    """

    format: Literal["secateur-bundle"] = "secateur-bundle"
    schema_version: Literal[1, 2, 3, 4, 5] = 5
    model: ModelInfo
    functions: Annotated[dict[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")], Function], Field(min_length=1)]
    state: dict[str, StateSpec] = {}
    targets: Annotated[tuple[TargetFiles, ...], Field(min_length=1)]
    self_test: SelfTest | None = None
    layers: tuple[LayerSparsity, ...] = ()
    tools: dict[str, str] = {}
    tokenizer: tuple[RelativePath, ...] = ()
    files: dict[RelativePath, FileEntry] = {}

    @model_validator(mode="after")
    def _names(self) -> "Manifest":
        if len({target.name for target in self.targets}) != len(self.targets):
            raise ValueError("two targets have one name")
        if (RESET in self.functions) != bool(self.state) or self.functions.get(RESET, NOTHING) != NOTHING:
            raise ValueError(f"'{RESET}' is the function of models with state, and takes and returns nothing")
        if self.self_test is not None:
            self._check_self_test(self.self_test)
        return self

    def function(self, name: str = MAIN) -> Function:
        """How the function of that name is called. Raises `BundleError` where the model has none."""
        if name not in self.functions:
            raise BundleError(f"the model has no function '{name}'; it has: {', '.join(sorted(self.functions))}")
        return self.functions[name]

    def _check_self_test(self, test: SelfTest) -> None:
        if MAIN not in self.functions:
            raise ValueError(f"the self-test is one of '{MAIN}', which the model does not have")
        main = self.functions[MAIN]
        for what, files, specs in (("inputs", test.inputs, main.inputs), ("outputs", test.outputs, main.outputs)):
            if len(files) != len(specs):
                raise ValueError(f"the self-test has {len(files)} {what}, and the model {len(specs)}")
        missing = sorted({target.name for target in self.targets} - set(test.tolerances))
        if missing:
            raise ValueError(f"the self-test has no tolerance for the target '{missing[0]}'")

    def referenced(self) -> list[str]:
        """The files that targets, self-test and tokenizer name."""
        found = [*self.tokenizer]
        for target in self.targets:
            found += [target.module, *target.parameters]
        if self.self_test is not None:
            found += [*self.self_test.inputs, *self.self_test.outputs]
        return found


def first_fault(error: ValidationError) -> tuple[str, str]:
    """Where a manifest is wrong, and how, each on one line."""
    first = error.errors(include_url=False)[0]
    place = ".".join(" ".join(str(p).split()) for p in first["loc"])
    return place or "as a whole", first["msg"].removeprefix("Value error, ")


def _canonical(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def dump_manifest(manifest: Manifest) -> bytes:
    """The one text of a manifest. Its field `sha256` is the hash of the text without that field."""
    value = manifest.model_dump(mode="json")
    return _canonical({**value, "sha256": hashlib.sha256(_canonical(value)).hexdigest()})


def _upgraded(value: dict[str, Any]) -> dict[str, Any]:
    """What an older schema says otherwise, in the words of this one."""
    if value.get("schema_version") not in (1, 2, 3, 4):
        return value
    value = dict(value)
    value["functions"] = {MAIN: {name: value.pop(name) for name in Function.model_fields if name in value}}
    if value["schema_version"] > 2 or not isinstance(value.get("targets"), list):
        return value

    def archives(target: Any) -> Any:
        if not isinstance(target, dict) or not isinstance(target.get("parameters"), str | None):
            return target
        return {**target, "parameters": [target["parameters"]] if target.get("parameters") is not None else []}

    return {**value, "targets": [archives(target) for target in value["targets"]]}


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Reads a manifest. Raises `BundleError` for one that is no manifest, too new, altered, or wrong in a field."""
    try:
        value = json.loads(data)
        is_manifest = isinstance(value, dict) and value.get("format") == FORMAT
    except (ValueError, RecursionError):
        is_manifest = False
    if not is_manifest:
        raise BundleError(f"'{where}' is no bundle: its {MANIFEST} is damaged or of another program")
    version = value.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise BundleError(
            f"'{where}' has schema version {version}, and this Secateur reads up to {SCHEMA_VERSION}: update it"
        )
    digest = value.pop("sha256", None)
    try:
        manifest = Manifest.model_validate_json(_canonical(_upgraded(value)), strict=True)
    except ValidationError as error:
        place, message = first_fault(error)
        raise BundleError(f"the {MANIFEST} of '{where}' is wrong at '{place}': {message}") from None
    except ValueError as error:
        raise BundleError(f"the {MANIFEST} of '{where}' cannot be read: {error}") from None
    text = _canonical(value)
    if hashlib.sha256(text).hexdigest() != digest or _canonical({**value, "sha256": digest}) != data:
        raise BundleError(f"the {MANIFEST} of '{where}' was altered after it was written")
    missing = sorted(set(manifest.referenced()) - set(manifest.files))
    if missing:
        raise BundleError(f"the {MANIFEST} of '{where}' does not list the file '{missing[0]}', which it refers to")
    return manifest
