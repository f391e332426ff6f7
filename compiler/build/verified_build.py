"""Compares what was built for a target with PyTorch, where its code can run."""

from secateur.compiler.verify import comparison
from secateur.compiler.verify.op_by_op import check_ops
from secateur.compiler.verify.reference import Reference
from secateur.compiler.verify.verification_place import Place, session_at, verification_place
from secateur.runtime_targets.bundle import Bundle
from secateur.runtime_targets.runner import Runner

from .compile_options import Options
from .report import TargetReport
from .target_build import TargetBuild

_NOT_ASKED = "it was not asked for"
_NO_STATE = "on a device that is emulated each call is a process of its own, which keeps no caches"


def verify_build(build: TargetBuild, bundle: Bundle, reference: Reference, options: Options, alone: bool) -> None:
    """Compares the target's code in `bundle` with the reference where it can run, and notes why where it cannot.

    `alone`: it is the only target. Raises `VerificationError` with the figures of the worst difference.
    """
    report, place = build.report, None
    report.unverified_reason = _NOT_ASKED
    if options.verify:
        place, report.unverified_reason = verification_place(build.chosen.target)
    if place is not None and place.device and reference.one_process:
        place, report.unverified_reason = None, _NO_STATE
    if place is None:
        return
    options.progress("verifying" if alone else f"verifying {report.name}")
    differences = _compare(place, bundle, report.name, reference, options.threads)
    report.verification, report.verified_on = differences, place.where
    where = [] if alone and not place.device else [f"for target '{report.name}'"]
    ops = build.op_differences(reference, place.device)
    if ops:
        report.ops_compared, report.ops_error = len(ops), max(d.error for d in ops)
        check_ops(ops, report.name)
    failed = not all(difference.passed for difference in differences)
    if failed and options.verify == "layers":
        if ops:
            # With rounded activations every layer is off by its rounding.
            where.append(f"all {len(ops)} ops compute what their references do, so it is the rounding, or a pass")
        elif place.device is None:
            where.append(build.first_wrong_layer(reference.loaded, reference.cases["random"]))
    comparison.check(differences, "; ".join(filter(None, where)))


def _compare(
    place: Place, bundle: Bundle, name: str, reference: Reference, threads: int
) -> list[comparison.Difference]:
    """Runs the code of the target `name` on the reference's inputs."""
    with session_at(place, bundle, name, threads) as session:
        return reference.differences(Runner(bundle.manifest, session))


def note_of(report: TargetReport) -> str:
    """What a bundle says of the correctness of a target's code."""
    if report.unverified_reason:
        return f"unverified: {report.unverified_reason}"
    ops = f"; each of {report.ops_compared} ops against its own reference" if report.ops_compared else ""
    return f"verified against PyTorch on random and padded inputs, {report.verified_on}{ops}"
