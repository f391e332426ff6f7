"""Plans as text: which variant each fusion site takes."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from .sites import KINDS

_PAIR = re.compile(r"([^=]+)=([a-z-]+)")


class PlanError(ValueError):
    """A plan cannot be read; the text is one sentence with what was found and what is accepted."""


def read_plan(text: str) -> dict[str, str]:
    """The plan that the option `plan` of `sparsity-fuse` names: a JSON file, or `key=variant,...`.

    A key is a kind (`residual`) or the id of a site (`residual:encoder.layer.0.output.dense`); in a file also a
    signature. Raises `PlanError`.
    """
    text = text.strip()
    if not text:
        return {}
    if text.endswith(".json"):
        return _from_file(Path(text))
    plan = {}
    for part in text.split(","):
        match = _PAIR.fullmatch(part.strip())
        if match is None:
            raise PlanError(f"expected a plan of kind=variant,... or a file named *.json, found '{part.strip()}'")
        kind = match[1].partition(":")[0]
        if kind not in KINDS:
            raise PlanError(f"unknown kind of fusion site '{kind}'; accepted: {', '.join(KINDS)}")
        if match[2] not in KINDS[kind].variants:
            accepted = ", ".join(KINDS[kind].variants)
            raise PlanError(f"'{kind}' has no fusion variant '{match[2]}'; accepted: {accepted}")
        plan[match[1]] = match[2]
    return plan


def _from_file(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text())
    except OSError as error:
        raise PlanError(f"the fusion plan '{path}' cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise PlanError(f"the fusion plan '{path}' is no JSON: {error}") from None
    variants = found.get("variants") if isinstance(found, dict) else None
    if not isinstance(variants, dict) or not all(isinstance(v, str) for v in variants.values()):
        raise PlanError(f"expected '{path}' to hold {{\"variants\": {{site: variant, ...}}}}, found something else")
    return variants


def write_plan(path: Path, plan: Mapping[str, str]) -> None:
    """Writes a plan as a file that `read_plan` reads; complete or not at all."""
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(json.dumps({"variants": dict(plan)}, indent=2, sort_keys=True) + "\n")
    temporary.replace(path)
