"""Secateur: the bundle in the model's folder."""

PACKAGES = ("secateur", "iree-base-runtime")


def load(model):
    from secateur.compiler import CompiledModel

    compiled = CompiledModel.open(model.folder / "model.bundle", threads=model.threads)
    inputs = model.inputs
    return lambda: list(compiled.run(inputs).values())
