"""Named pipelines: name -> text. A name is a flag of `sparsity-opt` and may stand in another pipeline."""

NAMED: dict[str, str] = {
    "torch-to-structural": "convert-torch-to-sparsity,torch-to-linalg",
    # Upstream's torch-backend-to-linalg-on-tensors-backend-pipeline ends with a check that refuses other dialects.
    "torch-to-linalg": "func.func(torch-decompose-complex-ops,torch-fuse-quantized-ops,torch-scalarize-shapes,"
    "convert-torch-to-linalg,canonicalize,convert-torch-to-scf,convert-torch-to-arith,convert-torch-to-tensor),"
    "convert-torch-conversion-to-mlprogram,func.func(canonicalize,resolve-shaped-type-result-dims,cse),"
    "torch-func-backend-type-conversion,func.func(canonicalize,torch-finalizing-backend-type-conversion),"
    "canonicalize,cse",
    "structural": "sparsity-detect,sparsity-fuse",
    "scheduled": "sparsity-number-format,sparsity-schedule,sparsity-reorder,sparsity-pack-rows,sparsity-pack,"
    "sparsity-pack-convolutions,sparsity-layout,sparsity-tile,sparsity-eliminate-loads,sparsity-quantize,sparsity-quantize-activations,"
    "sparsity-quantize-attention",
    "scheduled-token-major": "sparsity-number-format,sparsity-schedule,sparsity-reorder,sparsity-pack,"
    "sparsity-quantize",
    "scheduled-gpu": "sparsity-number-format,sparsity-schedule,sparsity-reorder,sparsity-pack,sparsity-layout,"
    "sparsity-eliminate-loads,sparsity-half-activations,sparsity-quantize,sparsity-quantize-activations,"
    "sparsity-quantize-attention",
    "scheduled-to-kernels": "convert-sparsity-to-kernels,sparsity-chain,convert-sparsity-to-linalg,canonicalize,cse",
    "scheduled-to-gpu-kernels": "convert-sparsity-to-gpu-kernels,convert-sparsity-to-linalg,canonicalize,cse",
    "scheduled-to-linalg": "convert-sparsity-to-linalg,canonicalize,cse",
    "kernels": "structural,scheduled,scheduled-to-kernels",
    "gpu": "structural,scheduled-gpu,scheduled-to-gpu-kernels",
    "portable": "structural,scheduled-token-major,scheduled-to-linalg",
}
