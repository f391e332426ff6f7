"""`secateur compile`: a model into a bundle, or into the IR of a level."""

import dataclasses
import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secateur.compiler.measure.tables import percent, size, table
from secateur.dialects.output_places import write_whole
from secateur.dialects.standard_streams import writing_output

from .durations import seconds_of
from .early_checks import check_bundle_out, check_file_out, check_folder_out, check_model, check_targets
from .number_options import Arithmetic, LayerArithmetic, LayerFormats, StoredWeights, Weights, formats_from
from .output import Debug, Json, Output, Quiet

if TYPE_CHECKING:
    from rich.console import Console

EXAMPLE = (
    "Example: secateur compile ./pruned-bert -o bert.bundle --seq-len 128 --threads 2. "
    "IR of every level for pass writers: secateur compile ./pruned-bert --compile-to kernels --dump-ir ir"
)


class Level(enum.StrEnum):
    """How far to compile."""

    torch = "torch"
    structural = "structural"
    scheduled = "scheduled"
    kernels = "kernels"
    iree = "iree"


class Verify(enum.StrEnum):
    """What to compare with PyTorch."""

    outputs = "outputs"
    layers = "layers"
    off = "off"


class Lowering(enum.StrEnum):
    """How the sparse layers become code."""

    kernels = "kernels"
    gpu = "gpu"
    portable = "portable"


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A Hugging Face folder.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT",
            rich_help_panel="Output",
            help="Bundle to write: a folder, or a file named *.zip.",
        ),
    ] = None,
    targets: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            "-t",
            metavar="TARGET",
            rich_help_panel="Target",
            help="Machine to compile for (default: host-cpu); `secateur targets` lists them. Several may be given.",
        ),
    ] = None,
    seq_len: Annotated[
        int,
        typer.Option(
            min=1, metavar="TOKENS", rich_help_panel="Target", help="Longest sequence, in tokens; shorter ones run too."
        ),
    ] = 128,
    batch: Annotated[
        int,
        typer.Option(min=1, metavar="SEQUENCES", rich_help_panel="Target", help="Largest batch; smaller ones run too."),
    ] = 1,
    context: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="TOKENS",
            rich_help_panel="Target",
            help="Compile a causal language model for generating sequences of up to so many tokens, with a cache of "
            "keys and values (in the place of --seq-len).",
        ),
    ] = None,
    threads: Annotated[
        int,
        typer.Option(min=1, metavar="THREADS", rich_help_panel="Target", help="Threads that the model will run on."),
    ] = 1,
    lowering: Annotated[
        Lowering | None,
        typer.Option(rich_help_panel="Code", help="Generated kernels, or plain linalg (default: what the target has)."),
    ] = None,
    weights: StoredWeights = Weights.f32,
    arithmetic: LayerArithmetic = Arithmetic.f32,
    formats: LayerFormats = None,
    verify: Annotated[
        Verify,
        typer.Option(
            rich_help_panel="Code",
            help="Compare with PyTorch: the outputs; layer by layer where they differ; or not at all.",
        ),
    ] = Verify.outputs,
    compile_to: Annotated[
        Level,
        typer.Option(rich_help_panel="Output", help="Stop at this level of IR and print it (or write it to OUT)."),
    ] = Level.iree,
    dump_ir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            rich_help_panel="Output",
            help="Write the IR of every level and the weights that it names into DIR.",
        ),
    ] = None,
    records: Annotated[
        bool,
        typer.Option(
            "--records/--no-records", rich_help_panel="Tuning", help="Use schedules that `secateur tune` found."
        ),
    ] = True,
    tune: Annotated[
        bool,
        typer.Option(
            "--tune", rich_help_panel="Tuning", help="First tune what was not tuned yet, in about five minutes."
        ),
    ] = (False),
    trials: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="SCHEDULES",
            rich_help_panel="Tuning",
            help="With --tune: schedules to try per kind of layer.",
        ),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", rich_help_panel="Tuning", help="With --tune: time for it: 90s, 10min.")
    ] = None,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", rich_help_panel="Code", help="Reuse what was compiled before.")
    ] = True,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compile a model and compare it with PyTorch."""
    if compile_to is Level.iree and out is None and dump_ir is None:
        raise typer.BadParameter("give -o OUT for the bundle, or --dump-ir DIR, or --compile-to LEVEL")
    if not tune and (trials is not None or budget is not None):
        raise typer.BadParameter("only of use with --tune", param_hint="--trials, --budget")
    budget_seconds = seconds_of(budget, "--budget") if budget is not None else None
    check_targets(targets or ())
    check_model(model)
    if out is not None:
        (check_bundle_out if compile_to is Level.iree else check_file_out)(out)
    if dump_ir is not None:
        check_folder_out(dump_ir, "--dump-ir")
    output = Output(as_json, quiet)
    with output.progress(f"compiling {model}") as progress:
        from secateur.compiler import compile_model
        from secateur.compiler.tune.options import compile_options

        compiled = compile_model(
            model,
            target=targets or ["host-cpu"],
            seq_len=seq_len,
            batch=batch,
            threads=threads,
            lowering=lowering.value if lowering is not None else None,
            weights=weights.value,
            arithmetic=arithmetic.value,
            formats=formats_from(formats),
            context=context,
            verify={"outputs": True, "layers": "layers", "off": False}[verify.value],
            compile_to=compile_to.value,
            dump_ir=dump_ir,
            cache=cache,
            records=records,
            tune=compile_options(trials, budget_seconds) if tune else False,
            progress=progress,
        )
        if compile_to is Level.iree and out is not None:
            progress("writing the bundle")
            compiled.save(out)
        report = compiled.report.to_dict()
        if compile_to is Level.iree:
            progress("measuring memory")
            memory = compiled.peak_memory()
            report["memory"] = {name: dataclasses.asdict(peak) for name, peak in memory.items()}
    if compile_to is not Level.iree:
        if out is not None:
            write_whole(out, compiled.ir.encode())
        elif dump_ir is None and not as_json:
            with writing_output():
                typer.echo(compiled.ir, nl=False)
            return
        elif as_json:
            report["ir"] = compiled.ir
    report["out"] = str(out) if out is not None else None
    for text in report["notes"]:
        output.note(f"note: {text}")
    output.result(report, lambda console: _show(console, report, out, hint=context is None))
    for name, reason in report["failed"].items():
        typer.echo(f"error: the target '{name}' is not in the bundle: {reason}", err=True)
    if report["failed"]:
        raise typer.Exit(1)


def _show(console: "Console", report: dict[str, Any], out: Path | None, hint: bool) -> None:
    rows = [
        (layer["name"], f"{layer['rows']} x {layer['columns']}", layer["encoding"], percent(layer["sparsity_fraction"]))
        for layer in report["layers"]
    ]
    if rows:
        console.print(table(("layer", "shape", "encoding", "zeros"), rows))
    if report["level"] == "iree":
        _show_targets(console, report, hint)
    seconds = sum(report["seconds"].values())
    source = "from the cache" if report["cached"] else "compiled"
    console.print(f"{source} in {seconds:.1f} s for {report['threads']} thread(s)")
    if out is not None:
        written = [out] if out.is_file() else [f for f in out.rglob("*") if f.is_file()]
        console.print(f"wrote {out} ({size(sum(f.stat().st_size for f in written))})", markup=False)


def _show_targets(console: "Console", report: dict[str, Any], hint: bool) -> None:
    """A row for each target, then what it takes beside the dense model, and the code's verification."""
    targets = report["targets"]
    rows = [
        (t["name"], t["lowering"], size(t["module_bytes"]), size(t["parameter_bytes"]), size(t["own_parameter_bytes"]))
        for t in targets
    ]
    console.print(table(("target", "lowering", "code", "weights", "of its own"), rows))
    stored = report["quantization"]
    if stored:
        console.print(
            f"weights in {stored['weights']}: {size(stored['stored_bytes'])}, {size(stored['f32_bytes'])} in f32; "
            f"PyTorch's outputs change by a relative L2 of {stored['relative_l2']:.1e}"
        )
    if len(targets) > 1:
        common, whole = report["common_bytes"], report["weights_bytes"]
        alone = max(t["parameter_bytes"] for t in targets)
        console.print(
            f"weights: {size(whole)} for all targets: {size(common)} that all read, {size(whole - common)} packed for "
            f"some of them; {size(whole - alone)} more than the largest target alone"
        )
    console.print(f"dense float32: {size(report['dense_bytes'])}, sparse layers as CSR: {size(report['csr_bytes'])}")
    for name, peak in report["memory"].items():
        added = peak["peak_bytes"] - peak["before_bytes"]
        console.print(
            f"{name}: a process that runs it peaks at {size(peak['peak_bytes'])}, {size(added)} of it for the model"
        )
    text = _int8_hint(report) if hint else ""
    for target in targets:
        console.print(f"{target['name']}: {_verdict(target)}", markup=False, highlight=False, soft_wrap=True)
    if text:
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _int8_hint(report: dict[str, Any]) -> str:
    """What int8 would bring to a model that was compiled in f32, where a target has an instruction for it."""
    from secateur.runtime_targets.targets import get_target

    able = [t["name"] for t in report["targets"] if get_target(t["name"]).description.get("dot")]
    kept = sum(layer["rows"] * layer["columns"] * (1 - layer["sparsity_fraction"]) for layer in report["layers"])
    if report["quantization"] or not able or not kept:
        return ""
    in_bytes = round(kept) + 4 * sum(layer["rows"] for layer in report["layers"])
    return (
        f"int8: on {', '.join(able)} an instruction multiplies four bytes where it multiplies one number of f32, and "
        f"the kept weights of the layers above take {size(in_bytes)} instead of {size(4 * round(kept))}: "
        "--weights int8 --arithmetic int8; compare the accuracy with 'secateur eval'"
    )


def _verdict(target: dict[str, Any]) -> str:
    if not target["verification"]:
        return f"unverified: {target['unverified_reason']}" if target["unverified_reason"] else "unverified"
    worst = max(target["verification"], key=lambda d: d["relative_l2"])
    largest = max(d["scaled_max"] for d in target["verification"])
    ops = f"; {target['ops_compared']} ops agree with their own references" if target["ops_compared"] else ""
    return (
        f"verified against PyTorch {target['verified_on']}: relative L2 {worst['relative_l2']:.1e}, "
        f"scaled maximum {largest:.1e}{ops}"
    )
