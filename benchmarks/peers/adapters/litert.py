"""LiteRT (formerly TensorFlow Lite) with XNNPACK, its default on CPUs; converted from PyTorch by litert-torch."""

PACKAGES = ("ai-edge-litert", "litert-torch")


def load(model):
    from ai_edge_litert.interpreter import Interpreter

    path = model.converted("model.tflite", lambda new: convert(model, new))
    interpreter = Interpreter(str(path), num_threads=model.threads)
    interpreter.allocate_tensors()
    # Names are `serving_default_args_0:0` and so on, in no order of their own.
    inputs = sorted(interpreter.get_input_details(), key=lambda detail: detail["name"])
    outputs = sorted(interpreter.get_output_details(), key=lambda detail: detail["name"])
    # The converter turns 64-bit integers into 32-bit ones.
    arrays = [a.astype(d["dtype"]) for a, d in zip(model.inputs.values(), inputs, strict=True)]

    def run():
        for detail, array in zip(inputs, arrays, strict=True):
            interpreter.set_tensor(detail["index"], array)
        interpreter.invoke()
        return [interpreter.get_tensor(detail["index"]) for detail in outputs]

    return run


def convert(model, path):
    import litert_torch

    litert_torch.convert(model.program().module(check_guards=False), model.tensors()).export(str(path))
