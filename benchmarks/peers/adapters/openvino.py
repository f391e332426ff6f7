"""OpenVINO on its CPU plugin, one stream.

f32: as the model has it. default: what it chooses by itself, bf16 where the processor has it. int8: NNCF's quantisation
of weights and activations with its preset for transformers, calibrated by `Model.calibration`.
"""

PACKAGES = ("openvino", "nncf")


def load(model):
    import openvino

    options = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": model.threads}
    path = model.folder / "model.onnx"
    if model.precision == "f32":
        options["INFERENCE_PRECISION_HINT"] = "f32"
    if model.precision == "int8":
        path = model.converted("model.int8", lambda new: quantize(model, new)) / "model.xml"
    request = openvino.compile_model(path, "CPU", options).create_infer_request()
    feeds = {port.any_name: model.inputs[port.any_name] for port in request.model_inputs}

    def run():
        return list(request.infer(feeds).values())

    return run


def quantize(model, folder):
    import nncf
    import openvino

    samples = model.calibration()
    plain = openvino.Core().read_model(model.folder / "model.onnx")
    made = nncf.quantize(plain, nncf.Dataset(samples), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(samples))
    folder.mkdir()
    openvino.save_model(made, folder / "model.xml", compress_to_fp16=False)
