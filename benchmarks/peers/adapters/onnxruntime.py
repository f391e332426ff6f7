"""ONNX Runtime on its CPU provider, with all graph optimisations (its default).

int8: its dynamic quantisation, weights by channel.
"""

PACKAGES = ("onnxruntime", "onnx", "onnxscript")


def load(model):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = model.threads, 1
    # Threads that wait in a loop would slow the others down.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    path = model.folder / "model.onnx"
    if model.precision == "int8":
        path = model.converted("model.int8.onnx", lambda new: quantize(model.folder / "plain.onnx", new))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feeds = {node.name: model.inputs[node.name] for node in session.get_inputs()}
    return lambda: session.run(None, feeds)


def quantize(plain, path):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(plain, path, per_channel=True, weight_type=QuantType.QInt8)
