"""`--list-passes`: every Python pass and named pipeline, from the classes themselves."""

import dataclasses

from secateur.compiler.pipeline.pipeline_text import PassNames
from secateur.passes import registry


def pass_list(names: PassNames) -> tuple[str, list[str]]:
    """The listing, and a sentence for each pass that cannot be loaded."""
    lines, broken = ["passes:"], []
    for name in dict.fromkeys([*names.loaded, *registry.known_passes()]):
        try:
            found = names.find(name)
        except Exception as error:
            broken.append(f"the pass '{name}' cannot be loaded: {error}")
            continue
        assert found is not None
        lines.append(f"  --{name}\n      {found.summary()}")
        for option, (kind, default) in found.options().items():
            typed = getattr(kind, "__name__", str(kind))
            shown = "" if default is dataclasses.MISSING else f" (default: {_shown(default)})"
            lines.append(f"        {option}=<{typed}>{shown}")
    lines.append("pipelines:")
    lines += [f"  --{name}\n      {text}" for name, text in names.pipelines.items()]
    lines.append("Upstream passes are accepted too; torch-mlir-opt --help shows most of them.")
    return "\n".join(lines) + "\n", broken


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, str) else str(value)
