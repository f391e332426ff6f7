"""What `secateur prune` checks before it loads anything: options that need or exclude each other, and their values."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .durations import seconds_of
from .early_checks import check_task, told_of

if TYPE_CHECKING:
    from secateur.dialects.schemes import Pruning as Rule


def check_choice(option: str, value: str, accepted: Sequence[str]) -> None:
    """`value` is one of those that are accepted."""
    if value not in accepted:
        near = difflib.get_close_matches(value, accepted, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise typer.BadParameter(f"found '{value}': {hint}accepted are {', '.join(accepted)}", param_hint=option)


def check_sparsity(sparsity: float | None) -> None:
    """A fraction that leaves something."""
    if sparsity is not None and not 0 <= sparsity < 1:
        raise typer.BadParameter(f"expected at least 0 and less than 1, found {sparsity:g}", param_hint="--sparsity")


def check_scheme(scheme: str, block: str | None, blocks: str | None) -> "type[Rule]":
    """The scheme, which has blocks of the sizes that are given."""
    from secateur.dialects.schemes import pruning_of

    if block is not None and blocks is not None:
        raise typer.BadParameter("give --block, or --blocks to choose from", param_hint="--blocks")
    with told_of("--scheme"):
        rule = pruning_of(scheme)
    for option, given in (("--block", [block] if block else []), ("--blocks", blocks.split(",") if blocks else [])):
        for sizes in given:
            with told_of(option):
                rule(rule.parse(sizes))
    return rule


def check_rounding(weights: str, method: str, trains: bool) -> None:
    """What is rounded is pruned by second order, and nothing moves it afterwards."""
    if weights == "f32":
        return
    if trains:
        text = "a training moves what was rounded: round its result, without --sparsity and without a length"
        raise typer.BadParameter(text, param_hint="--weights")
    if method != "second-order":
        raise typer.BadParameter(
            f"weights are rounded by --method second-order, which needs --data; found {method}", param_hint="--weights"
        )


def check_place(
    target: str | None, target_latency: str | None, blocks: str | None, clock: float | None, arithmetic: str
) -> float | None:
    """The latency in milliseconds, where one is wanted; the target is one that can be measured here."""
    budget_ms = None
    if target_latency is not None:
        budget_ms = seconds_of(target_latency, "--target-latency", plain=0.001) * 1000
    if target is None and target_latency is None:
        timed_in = arithmetic if arithmetic != "f32" else None
        for option, given in (("--blocks", blocks), ("--clock", clock), ("--arithmetic", timed_in)):
            if given is not None:
                raise typer.BadParameter("goes with --target or --target-latency", param_hint=option)
        return None
    if clock is not None and not 0 < clock < float("inf"):
        raise typer.BadParameter(f"expected more than 0 GHz, found {clock:g}", param_hint="--clock")
    from secateur.compression.latency.place import place_of
    from secateur.dialects.number_formats import format_of

    with told_of("--target"):
        place = place_of(target or "host-cpu", numbers=format_of(arithmetic))
    if budget_ms is not None and place.unit != "ms" and clock is None:
        raise typer.BadParameter(
            f"on '{target}' cycles are counted: a latency needs the clock of the core, in GHz", param_hint="--clock"
        )
    return budget_ms


def check_data(data: str | None, overlay: Path | None, trains: bool) -> None:
    """`data` is a task, a task on data that is there, or a text file where nothing trains."""
    if overlay is not None and data is None:
        raise typer.BadParameter(
            "needs --data squad or --data sentiment, whose head the model gets", param_hint="--overlay"
        )
    if data is None:
        return
    name, equals, file = data.partition("=")
    if equals:
        check_task(name, Path(file), option="--data")
    elif not Path(data).is_file():
        check_task(data, None, option="--data")
    elif trains and Path(data).suffix != ".json":
        text = f"a training needs a task: squad, sentiment, or one on data of your own (squad=FILE), found '{data}'"
        raise typer.BadParameter(text, param_hint="--data")
