"""PyTorch, eager."""

PACKAGES = ("torch",)


def load(model):
    import torch

    torch.set_num_threads(model.threads)
    module, inputs = model.program().module(check_guards=False), model.tensors()

    def run():
        with torch.inference_mode():
            return [output.numpy() for output in module(*inputs)]

    return run
