"""MNN on its CPU backend in f32, converted from ONNX by its own converter."""

PACKAGES = ("mnn",)


def load(model):
    import MNN
    import numpy as np

    path = model.converted("model.mnn", lambda new: convert(model, new))
    # Precision "low" would be half precision.
    manager = MNN.nn.create_runtime_manager(({"backend": 0, "precision": "high", "numThread": model.threads},))
    names = list(model.inputs)
    module = MNN.nn.load_module_from_file(str(path), names, [], runtime_manager=manager)

    def run():
        # MNN has no 64-bit integers.
        arrays = [a.astype(np.int32) if a.dtype == np.int64 else a for a in model.inputs.values()]
        variables = [MNN.expr.const(a, list(a.shape), data_format=MNN.expr.NCHW, dtype=kind(MNN, a)) for a in arrays]
        outputs = module.forward(variables)
        return [np.array(v.read()) for v in (outputs if isinstance(outputs, (list, tuple)) else [outputs])]

    return run


def kind(MNN, array):
    return MNN.expr.int if array.dtype.kind == "i" else MNN.expr.float


def convert(model, path):
    # Not through `MNN.tools.mnnconvert`, which installs a package and reports to a server when it is imported.
    import _tools

    arguments = [
        "-f",
        "ONNX",
        "--modelFile",
        str(model.folder / "plain.onnx"),
        "--MNNModel",
        str(path),
        "--bizCode",
        "MNN",
    ]
    _tools.mnnconvert(["mnnconvert", *arguments])
    if not path.exists():
        raise RuntimeError("MNN's converter refused the model")
