"""PyTorch through `torch.compile` (Inductor's C++ backend), with weights frozen into the code."""

PACKAGES = ("torch",)


def load(model):
    import torch
    import torch._inductor.config

    torch.set_num_threads(model.threads)
    torch._inductor.config.freezing = True
    compiled, inputs = torch.compile(model.program().module(check_guards=False)), model.tensors()

    def run():
        with torch.no_grad():
            return [output.numpy() for output in compiled(*inputs)]

    return run
