"""ONNX Runtime on its CPU provider, with all graph optimisations (its default)."""

PACKAGES = ("onnxruntime", "onnx", "onnxscript")


def load(model):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = model.threads, 1
    # Threads that wait in a loop would slow the others down.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model.folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    feeds = {node.name: model.inputs[node.name] for node in session.get_inputs()}
    return lambda: session.run(None, feeds)
