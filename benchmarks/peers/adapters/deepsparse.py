"""DeepSparse, which skips unstructured zeros; from the ONNX file that `onnx_files` wrote."""

PACKAGES = ("deepsparse",)


def load(model):
    import deepsparse

    engine = deepsparse.compile_model(str(model.folder / "plain.onnx"), batch_size=1, num_cores=model.threads)
    inputs = [model.inputs[name] for name in engine.input_names]
    return lambda: engine.run(inputs)
