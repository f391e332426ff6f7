"""What tuning found, as passes read it: one JSON object a line, each for one op, target and set of tools.

A line of a records file (written by `secateur.compiler.records.records`, which adds figures that passes do not read):

    {"format": 1, "kind": "chosen", "key": "5c1f...", "op": {"name": "sparsity.linear", "rows": 3072, ...},
     "target": "#sparsity.target<{...}>", "tools": {...}, "schedule": {"row_tile": 6, "workgroups": 2, ...}}

The key is a digest of `op`, `target` and `tools`. A record is found by its key alone, so one of another target or of
other tools can never be; and its key is computed again when it is read, so one that was altered is never found.
"""

import functools
import hashlib
import json
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from torch_mlir import ir

from secateur.dialects.sparsity.attributes import SCHEDULE, TARGET
from secateur.dialects.sparsity.ops.weight import encoding_of, weight_behind

from ..base import PassContext, operands_by_name
from .sparsity_layout import choose_panel

FORMAT = 1
# Attributes that are no part of what an op computes.
_NO_PART = ("operandSegmentSizes", SCHEDULE)


@functools.cache
def code_generator() -> dict[str, str]:
    """The versions that a measured time depends on: of Secateur, its passes' own source, and IREE's compiler."""
    digest = hashlib.blake2b(digest_size=8)
    folder = Path(__file__).parent.parent
    places = ("scheduled", "kernels", "structural/fusion")
    for file in sorted(file for place in places for file in folder.glob(f"{place}/*.py")):
        digest.update(f"{file.relative_to(folder).as_posix()}\0".encode())
        digest.update(file.read_bytes())
    versions = {"passes": digest.hexdigest()}
    for package in ("secateur", "iree-base-compiler"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "unknown"
    return versions


def signature_of(op: ir.OpView, context: PassContext, panel: int = 0) -> dict[str, Any] | None:
    """What the speed of a `sparsity.linear` depends on, as JSON-able values; None where its weight is not known.

    Layers that differ only in the places of their zeros share a signature: it has the number of kept weights, to two
    significant digits. `panel`: tokens in a panel, 0 for those that `sparsity-layout` would choose.
    """
    weight = weight_behind(op.weight)
    shape = list(op.x.type.shape)
    if weight is None or len(shape) not in (2, 3) or any(size < 1 for size in shape):
        return None
    batch, tokens, columns = ([1, *shape])[-3:]
    encoding = encoding_of(weight)
    operands = [name for name in operands_by_name(op) if name not in ("x", "weight")]
    attributes = {name: str(a) for name, a in op.operation.attributes.items() if name not in _NO_PART}
    return {
        "name": op.operation.name,
        "rows": op.weight.type.shape[0],
        "columns": columns,
        "batch": batch,
        "tokens": tokens,
        "panel": panel or choose_panel(tokens),
        "type": str(op.x.type.element_type),
        "encoding": str(encoding) if encoding is not None else "#sparsity.dense<{}>",
        "kept": float(f"{np.count_nonzero(context.array(weight)):.1e}"),
        "operands": operands,
        "attributes": attributes,
    }


def target_text(module: ir.Module) -> str:
    """The target of a module as a key holds it."""
    attributes = module.operation.attributes
    return str(attributes[TARGET]) if TARGET in attributes else ""


def record_key(op: dict[str, Any], target: str, tools: dict[str, str]) -> str:
    """The digest under which records of one op, target and set of tools are found."""
    text = json.dumps([FORMAT, op, target, tools], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file that are whole and unaltered, in the order they were written.

    A line that a killed process left unfinished is passed over. A missing file has no records.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    for line in data.split(b"\n"):
        record = parse_line(line)
        if record is not None:
            yield record


def parse_line(line: bytes) -> dict[str, Any] | None:
    """A record from its line; None where the line is none, of another format, or does not have the key it states."""
    try:
        record = json.loads(line)
        whole = record["format"] == FORMAT and isinstance(record["kind"], str)
        whole = whole and record_key(record["op"], record["target"], record["tools"]) == record["key"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return record if whole else None


def chosen_schedules(path: Path) -> dict[str, dict[str, int]]:
    """Key -> the schedule that tuning chose last."""
    found = {}
    for record in read_lines(path):
        schedule = record.get("schedule")
        if record["kind"] == "chosen" and isinstance(schedule, dict):
            found[record["key"]] = schedule
    return found
