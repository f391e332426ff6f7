"""`secateur prune`: zeros into a Hugging Face folder."""

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import Debug, Json, Output, Quiet, percent, table

if TYPE_CHECKING:
    from rich.console import Console

EXAMPLE = "Example: secateur prune ./bert -o ./bert-pruned --scheme bcr --block 4x16 --sparsity 0.9 --one-shot"


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A Hugging Face folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Hugging Face folder to write.")],
    sparsity: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Fraction of each layer's weights to remove.")
    ] = None,
    scheme: Annotated[str, typer.Option(help="bcr, block, pattern, punched, filter, nm or unstructured.")] = "bcr",
    block: Annotated[
        str | None, typer.Option(help="Sizes of the scheme: 4x16 (bcr), 64 (block), 4x4 (pattern), 2:4 (nm).")
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Only layers whose name matches (may be repeated).")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Leave out matching layers too (may be repeated).")
    ] = None,
    one_shot: Annotated[
        bool, typer.Option("--one-shot", help="By magnitude, without training: accuracy suffers at high sparsity.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Remove the smallest weights of every encoder linear; embeddings, pooler and task heads stay whole."""
    if not one_shot:
        raise typer.BadParameter("only pruning without training is available: add --one-shot", param_hint="--one-shot")
    if sparsity is None and scheme != "nm":
        raise typer.BadParameter(f"scheme '{scheme}' needs a fraction, for example 0.9", param_hint="--sparsity")
    output = Output(as_json, quiet)
    with output.progress(f"pruning {model}") as progress:
        from secateur.compiler.prune import parse_scheme, prune_model

        wanted = parse_scheme(scheme, block)
        check_free(out)
        progress("loading")
        from secateur.frontends import load_model

        loaded = load_model(model)
        pruned, report = prune_model(
            loaded.module,
            wanted,
            sparsity,
            include=include or None,
            skip=skip or None,
            copy=False,
            progress=lambda done, total, name: progress(f"layer {done} of {total} {name}"),
        )
        progress("writing")
        save(pruned, loaded.tokenizer_files, out)
    value = {**report.to_dict(), "out": str(out)}

    def show(console: "Console") -> None:
        rows = [
            (layer.name, " x ".join(map(str, layer.shape)), percent(layer.sparsity_fraction),
             percent(layer.kept_norm_fraction))
            for layer in report.layers
        ]  # fmt: skip
        console.print(table(("layer", "shape", "zeros", "norm kept"), rows))
        console.print(f"wrote {out}: {percent(report.sparsity_fraction)} of the pruned layers' weights are zero")

    output.result(value, show)


def check_free(out: Path) -> None:
    """Raises `FileExistsError` where `out` holds something."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise FileExistsError(f"'{out}' exists; name a new folder")


def save(model: Any, tokenizer_files: list[Path], out: Path) -> None:
    """Writes a Hugging Face folder whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.new-") as scratch:
        folder = Path(scratch) / out.name
        model.save_pretrained(folder)
        for file in tokenizer_files:
            shutil.copyfile(file, folder / Path(file).name)
        if out.is_dir():
            out.rmdir()
        folder.rename(out)
