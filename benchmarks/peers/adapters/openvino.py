"""OpenVINO on its CPU plugin, in f32 (it would choose bf16 by itself where the processor has it), one stream."""

PACKAGES = ("openvino",)


def load(model):
    import openvino

    options = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": model.threads,
    }
    request = openvino.compile_model(model.folder / "model.onnx", "CPU", options).create_infer_request()
    feeds = {port.any_name: model.inputs[port.any_name] for port in request.model_inputs}

    def run():
        return list(request.infer(feeds).values())

    return run
