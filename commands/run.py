"""`secateur run`: a bundle on arrays from files."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secateur.compiler.measure.tables import table

from .early_checks import check_bundle, check_file, check_file_out
from .output import Debug, Json, Output, Quiet

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

EXAMPLE = "Example: secateur run bert.bundle --input input_ids=ids.npy --input attention_mask=mask.npy -o out.npz"

# Small results are printed whole as JSON; larger ones belong into a file.
_PRINTED_VALUES = 1000
_RANGE = ("min", "mean", "max")


def command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle: a folder or a .zip.")],
    inputs: Annotated[
        list[str],
        typer.Option("--input", "-i", metavar="NAME=FILE.npy|FILE.npz", help="An input; .npz holds inputs by name."),
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="OUT.npz", help="Write the outputs here.")] = None,
    threads: Annotated[int, typer.Option(min=1, metavar="THREADS", help="Threads to run on.")] = 1,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run a bundle on raw tensors. Does not need PyTorch."""
    if out is not None and out.suffix != ".npz":
        raise typer.BadParameter(f"expected a file named *.npz, found '{out}'", param_hint="--out")
    check_bundle(bundle)
    check_file_out(out)
    output = Output(as_json, quiet)
    arrays = read_inputs(inputs)
    with output.progress(f"running {bundle}") as progress:
        from secateur.compiler.build.compiled_model import CompiledModel
        from secateur.runtime_targets.class_names import named_classes

        progress("loading")
        model = CompiledModel.open(bundle, threads=threads)
        progress("running")
        outputs = model.run(arrays)
        labelled = {spec.name: named_classes(spec, outputs[spec.name]) for spec in model.manifest.function().outputs}
    if out is not None:
        _write(out, outputs)
    described = {name: describe(array) for name, array in outputs.items()}
    classes = {name: names for name, names in labelled.items() if names is not None and names.size <= _PRINTED_VALUES}
    for name, names in classes.items():
        described[name]["classes"] = names.tolist()
    value = {"outputs": described, "out": str(out) if out else None}
    rows = [
        (name, str(d["shape"]), d["dtype"], *("not finite" if d[k] is None else f"{d[k]:.6g}" for k in _RANGE))
        for name, d in described.items()
    ]
    columns = ("output", "shape", "type", *_RANGE)

    def show(console: "Console") -> None:
        console.print(table(columns, rows))
        for name, names in classes.items():
            found = ", ".join("not a number" if one is None else one for one in names.reshape(-1))
            console.print(f"classes by {name}: {found}", markup=False, highlight=False, soft_wrap=True)

    output.result(value, show)


def read_inputs(given: Sequence[str]) -> "dict[str, np.ndarray]":
    """Name -> array from `NAME=FILE.npy` and `FILE.npz` arguments. Raises `typer.BadParameter`."""
    from secateur.runtime_targets.array_files import read_arrays

    arrays: dict[str, np.ndarray] = {}
    for argument in given:
        name, equals, file = argument.rpartition("=")
        path = Path(file)
        check_file(path, "--input")
        try:
            loaded = read_arrays(path)
        except ValueError as error:
            raise typer.BadParameter(f"'{path}' {error}", param_hint="--input") from None
        found = loaded if isinstance(loaded, dict) else {name: loaded}
        if not isinstance(loaded, dict) and not (equals and name):
            raise typer.BadParameter(f"expected NAME={path}, found '{argument}'", param_hint="--input")
        for key, array in found.items():
            if key in arrays:
                raise typer.BadParameter(f"input '{key}' is given twice", param_hint="--input")
            arrays[key] = array
    return arrays


def describe(array: "np.ndarray") -> dict[str, Any]:
    """Shape, type, range and, where there are few, the values of an array. A NaN or infinity becomes None."""
    import numpy as np

    def number(value: Any) -> float | None:
        return float(value) if np.isfinite(value) else None

    description: dict[str, Any] = {"shape": list(array.shape), "dtype": array.dtype.name}
    for name, reduce in zip(_RANGE, (np.min, np.mean, np.max), strict=True):
        description[name] = number(reduce(array)) if array.size else None
    if array.size <= _PRINTED_VALUES:
        values = array.astype(object)
        values[~np.isfinite(array.astype(np.float64))] = None
        description["values"] = values.tolist()
    return description


def _write(out: Path, outputs: "dict[str, np.ndarray]") -> None:
    import numpy as np

    from secateur.dialects.output_places import write_whole

    data = io.BytesIO()
    np.savez(data, **outputs)  # type: ignore[arg-type]
    write_whole(out, data.getvalue())
