"""How many trials the tuner's samplers need, on a space that is small enough to measure all of it.

Every legal schedule of one layer (a BERT feed-forward layer, 3072 x 768, 128 tokens, 90 % pruned at random) in the
knobs that are named, the others at their default, is timed in turns with the default schedule; then searches by each
sampler are replayed on the measured times, from fixed seeds.
Run: `python benchmarks/tuner_efficiency.py --table times.json`; a table that is there is completed, not measured again.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

import numpy as np

from secateur.dialects.scratch import ScratchFolder

SEEDS = range(31)
_STAGES = ((20, 2.0), (100, 0.0))


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True, help="JSON file of the measured times, read and completed")
    parser.add_argument("--only-replay", action="store_true", help="measure nothing")
    parser.add_argument("--block", default="16x1", help="BCR block of the layer, rows x columns")
    parser.add_argument("--rows", type=int, default=3072)
    parser.add_argument("--columns", type=int, default=768)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--knobs", nargs="+", default=["row_tile", "token_vectors", "workgroups"])
    parser.add_argument("--seconds", type=float, default=1e9, help="stop measuring after this time")
    return parser.parse_args(arguments)


def layer_task(block: str, rows: int, columns: int, tokens: int):
    """The task of one pruned layer with a bias and a GELU, and its target."""
    from torch_mlir import ir

    from secateur.compiler.pipeline.context import make_context
    from secateur.compiler.pipeline.passmanager import run_pipeline
    from secateur.compiler.tune.task import tasks_of
    from secateur.dialects.weight_store import WeightStore
    from secateur.passes.base import PassContext
    from secateur.runtime_targets.targets import get_target

    height, width = map(int, block.split("x"))
    random = np.random.default_rng(0)
    weight = random.standard_normal((rows, columns)).astype(np.float32)
    if width == 1:
        keep = np.repeat(random.random((rows // height, columns)) < 0.1, height, axis=0)
    else:
        # Rows and columns of a block go independently: the square root of a tenth of each stays.
        shape = (rows // height, columns // width, height, width)
        part = 0.1**0.5
        kept_rows, kept_columns = random.random(shape[:3]) < part, random.random((*shape[:2], width)) < part
        keep = (kept_rows[..., None] & kept_columns[:, :, None]).transpose(0, 2, 1, 3).reshape(rows, columns)
    store = WeightStore()
    store["layer.weight"], store["layer.bias"] = weight * keep, random.standard_normal(rows).astype(np.float32)
    target = get_target("host-cpu", workers=1)
    x, y = f"tensor<1x{tokens}x{columns}xf32>", f"tensor<1x{tokens}x{rows}xf32>"
    w, b = f"tensor<{rows}x{columns}xf32>", f"tensor<{rows}xf32>"
    text = f"""module attributes {{sparsity.target = {target.description_text()}}} {{
      func.func @main(%x: {x}) -> {y} {{
        %w = "sparsity.weight"() {{source = "layer.weight"}} : () -> {w}
        %b = "sparsity.weight"() {{source = "layer.bias"}} : () -> {b}
        %y = "sparsity.linear"(%x, %w, %b) {{activation = "gelu", operandSegmentSizes = array<i32: 1, 1, 1, 0>}}
             : ({x}, {w}, {b}) -> {y}
        return %y : {y}
      }}
    }}"""
    module = ir.Module.parse(text, make_context())
    run_pipeline(module, "sparsity-detect", PassContext(store))
    (task,) = tasks_of(module, store)
    return task, target


def measure(path: Path, options: argparse.Namespace) -> None:
    """Times every schedule that the table lacks; the file is rewritten after each."""
    import time

    from secateur.compiler.records.objective import TIME
    from secateur.compiler.records.records import new_record, timing_lock
    from secateur.compiler.tune.errors import CandidateError
    from secateur.compiler.tune.options import TuneOptions
    from secateur.compiler.tune.search import COMPILE, Crew, measuring
    from secateur.dialects.output_places import write_whole
    from secateur.passes.scheduled.schedule_space import schedule_space, whole_schedule

    began = time.monotonic()
    task, target = layer_task(options.block, options.rows, options.columns, options.tokens)
    default = whole_schedule(task.default, task.layer)
    fixed = [name for name in default if name not in options.knobs]
    space = [s for s in schedule_space(task.layer) if all(s[name] == default[name] for name in fixed)]
    header = new_record("table", "", task.signature, task.target)
    table = {
        "machine": header["processor"],
        "layer": task.signature,
        "target": task.target,
        "tools": header["tools"],
        "default": default,
        "candidates": [],
    }
    if path.exists():
        table = json.loads(path.read_text())
        if table["tools"] != header["tools"] or table["layer"] != header["op"]:
            sys.exit(f"'{path}' was measured with other tools or another layer; name a new file")
    known = [row["schedule"] for row in table["candidates"]]
    with ScratchFolder("bench") as scratch, Crew(TuneOptions(jobs=1)) as crew:
        folder, compiler = str(task.write(Path(scratch) / "task")), crew.compilers[0]
        target_of = (task.layer.panel, target.name, 1)
        incumbent = compiler.call(COMPILE, folder, task.default, *target_of)
        for number, schedule in enumerate(space, start=1):
            if schedule in known or time.monotonic() - began > options.seconds:
                continue
            row = {"schedule": schedule, "score": None}
            try:
                candidate = compiler.call(COMPILE, folder, schedule, *target_of)
                with timing_lock():
                    timed = crew.measurer.call(
                        measuring(TIME, 1)[0], folder, 1, candidate, incumbent, _STAGES, seconds=120
                    )
                # Of the fastest runs: here all candidates have to be comparable, whatever else the machine did.
                row |= {"score": timed["min_ratio"], "ms": timed["ms"]}
            except CandidateError as error:
                row |= {"failed": error.kind}
            table["candidates"].append(row)
            write_whole(path, (json.dumps(table, indent=1) + "\n").encode())
            print(f"{number} of {len(space)}: {schedule}: {row['score']}", file=sys.stderr, flush=True)
    if len(table["candidates"]) < len(space):
        sys.exit(f"{len(table['candidates'])} of {len(space)} measured; run again to go on")


def replay(path: Path) -> None:
    """Prints what each sampler needed."""
    from secateur.compiler.tune.options import SAMPLERS
    from secateur.compiler.tune.replay import GOOD_ENOUGH, efficiency

    table = json.loads(path.read_text())
    rows = table["candidates"]
    scores = sorted(row["score"] for row in rows if row["score"] is not None)
    good = sum(scores[0] / score >= GOOD_ENOUGH for score in scores)
    print(f"{table['machine']}: {len(rows)} schedules of {table['layer']['rows']} x {table['layer']['columns']}")
    print(
        f"fastest {1 / scores[0]:.2f}x the default, slowest {1 / scores[-1]:.2f}x; "
        f"{good} of {len(rows)} within {1 - GOOD_ENOUGH:.0%} of the fastest; {len(SEEDS)} seeds"
    )
    print(
        f"{'sampler':8}{'median trials':>14}{'part of space':>15}{'worst seed':>12}{'reached with 20 % of trials':>30}"
    )
    for sampler in SAMPLERS:
        found = efficiency(table, sampler, SEEDS)
        print(
            f"{sampler:8}{statistics.median(found.trials_needed):14.0f}{found.median_fraction:15.1%}"
            f"{max(found.trials_needed):12}"
            f"{statistics.median(found.reached):20.1%} median, {min(found.reached):.1%} worst"
        )


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    if not options.only_replay:
        measure(options.table, options)
    replay(options.table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
