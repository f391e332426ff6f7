"""LiteRT (formerly TensorFlow Lite) with XNNPACK, its default on CPUs; converted from PyTorch by litert-torch.

int8: its quantizer's recipe of int8 weights, with activations rounded at run time.
"""

PACKAGES = ("ai-edge-litert", "litert-torch")


def load(model):
    from ai_edge_litert.interpreter import Interpreter

    path = model.converted("model.tflite", lambda new: convert(model, new))
    if model.precision == "int8":
        plain = path
        path = model.converted("model.int8.tflite", lambda new: quantize(plain, new))
    interpreter = Interpreter(str(path), num_threads=model.threads)
    interpreter.allocate_tensors()
    # Names are `serving_default_args_0:0` and so on, in no order of their own.
    inputs = sorted(interpreter.get_input_details(), key=lambda detail: detail["name"])
    outputs = sorted(interpreter.get_output_details(), key=lambda detail: detail["name"])

    def run():
        for detail, array in zip(inputs, model.inputs.values(), strict=True):
            # The converter turns 64-bit integers into 32-bit ones.
            interpreter.set_tensor(detail["index"], array.astype(detail["dtype"]))
        interpreter.invoke()
        return [interpreter.get_tensor(detail["index"]) for detail in outputs]

    return run


def convert(model, path):
    import litert_torch

    litert_torch.convert(model.program().module(check_guards=False), model.tensors()).export(str(path))


def quantize(plain, path):
    from ai_edge_quantizer import quantizer, recipe

    made = quantizer.Quantizer(str(plain))
    made.load_quantization_recipe(recipe.dynamic_wi8_afp32())
    made.quantize().export_model(str(path), overwrite=True)
