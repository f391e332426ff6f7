"""Stock IREE with its best flags for dense models, through torch-mlir's own lowering."""

PACKAGES = ("iree-base-compiler", "iree-base-runtime", "torch-mlir")


def load(model):
    import torch

    from secateur.compiler.measure.baselines import stock_iree

    # Written by Secateur a moment ago: attention is changed in the module itself, which a program does not allow.
    module = torch.load(model.folder / "module.pt", weights_only=False)
    inputs = dict(zip(model.inputs, model.tensors(), strict=True))
    run = stock_iree(module, inputs, model.threads)
    return lambda: run(model.inputs)
