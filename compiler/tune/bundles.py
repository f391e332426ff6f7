"""Records of tuning in bundles: a bundle carries those that its code was made with, and others can take them over."""

from pathlib import Path

from secateur.compiler.records.errors import TuneError
from secateur.compiler.records.records import merge_lines
from secateur.compiler.records.tuned import RECORDS_IN_BUNDLE


def import_records(path: Path, folder: Path | None = None) -> dict[str, int]:
    """Adds the records of the bundle at `path` to those in `folder`; returns how many were new, by machine.

    Records of other machines and tools are kept, and never applied to this one. Raises `TuneError` where the bundle has
    none, `BundleError` where it is no bundle.
    """
    from secateur.runtime_targets.bundle import open_bundle

    with open_bundle(path, runnable=False) as bundle:
        if RECORDS_IN_BUNDLE not in bundle.manifest.files:
            raise TuneError(f"the bundle '{path}' carries no records: it was compiled without tuned schedules")
        return merge_lines(bundle.file(RECORDS_IN_BUNDLE).read_bytes(), folder)
