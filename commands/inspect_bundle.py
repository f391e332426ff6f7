"""`secateur inspect BUNDLE`: what a bundle holds, and for which machines."""

from typing import TYPE_CHECKING, Any

from secateur.compiler.measure.tables import size, table

from .output import Output

if TYPE_CHECKING:
    from rich.console import Console

# More are shown by --json only.
_LABELS = 20


def inspect_bundle(path: str, output: Output) -> None:
    """Checks the bundle whole and shows its targets. Raises `BundleError`."""
    from secateur.runtime_targets.bundle import open_bundle

    with open_bundle(path, runnable=False) as bundle:
        manifest = bundle.manifest
    sizes = {name: entry.size_bytes for name, entry in manifest.files.items()}
    users = {name: sum(name in t.parameters for t in manifest.targets) for name in sizes}
    targets = [
        {
            "name": target.name,
            "architecture": target.architecture,
            "cpu_features": list(target.cpu_features),
            "subgroup": target.subgroup,
            "module_bytes": sizes[target.module],
            "parameter_bytes": sum(sizes[name] for name in target.parameters),
            "own_parameter_bytes": sum(sizes[name] for name in target.parameters if users[name] == 1),
            "dispatches": len(target.dispatches),
            "note": target.note,
        }
        for target in manifest.targets
    ]
    value: dict[str, Any] = {
        "model": manifest.model.name,
        "schema_version": manifest.schema_version,
        "bytes": sum(sizes.values()),
        "targets": targets,
        "functions": {name: function.model_dump() for name, function in manifest.functions.items()},
        "state": {name: spec.model_dump() for name, spec in manifest.state.items()},
        "self_test": manifest.self_test is not None,
    }
    output.result(value, lambda console: _show(console, value))


def _type(spec: dict[str, Any]) -> str:
    return f"{spec['dtype']} {list(spec['shape'])}"


def _show(console: "Console", value: dict[str, Any]) -> None:
    test = "with" if value["self_test"] else "without"
    whole = size(value["bytes"])
    console.print(
        f"{value['model']}, {whole}, schema version {value['schema_version']}, {test} a self-test", markup=False
    )
    for name, function in value["functions"].items():
        for kind in ("inputs", "outputs"):
            specs = "; ".join(f"{s['name']}: {_type(s)}" for s in function[kind]) or "none"
            console.print(f"{kind} of {name}: {specs}", markup=False, highlight=False)
        for spec in function["outputs"]:
            if spec["labels"]:
                names = ", ".join(f"{i} {name}" for i, name in enumerate(spec["labels"][:_LABELS]))
                more = f" and {len(spec['labels']) - _LABELS} more" if len(spec["labels"]) > _LABELS else ""
                console.print(f"classes of {spec['name']}: {names}{more}", markup=False, highlight=False)
    if value["state"]:
        kept = "; ".join(f"{name}: {_type(spec)}" for name, spec in value["state"].items())
        console.print(f"state: {kept}", markup=False, highlight=False)
    rows = [
        (t["name"], *(size(t[name]) for name in ("module_bytes", "parameter_bytes", "own_parameter_bytes")))
        for t in value["targets"]
    ]
    console.print(table(("target", "code", "weights", "of its own"), rows))
    for target in value["targets"]:
        console.print(f"{target['name']}: {target['note']}", markup=False, highlight=False, soft_wrap=True)
