"""Named pipelines: name -> text. A name is a flag of `sparsity-opt` and may stand in another pipeline."""

NAMED: dict[str, str] = {
    "torch-to-structural": "convert-torch-to-sparsity",
    "structural": "sparsity-detect,sparsity-fuse",
    "scheduled": "sparsity-schedule,sparsity-reorder,sparsity-pack,sparsity-layout,sparsity-tile,"
    "sparsity-eliminate-loads",
    "kernels": "structural,scheduled,convert-sparsity-to-kernels",
    "portable": "structural,scheduled,convert-sparsity-to-linalg",
}
