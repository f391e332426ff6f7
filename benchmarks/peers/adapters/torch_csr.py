"""`torch.sparse` CSR times dense, for a model that is one linear layer; the input is transposed beforehand."""

PACKAGES = ("torch",)


def load(model):
    import torch

    torch.set_num_threads(model.threads)
    state = model.program().state_dict
    weight = next(tensor for name, tensor in state.items() if name.endswith("weight")).detach().to_sparse_csr()
    bias = next(tensor for name, tensor in state.items() if name.endswith("bias")).detach()[:, None]
    columns = model.tensors()[0].T.contiguous()

    def run():
        with torch.inference_mode():
            return [torch.addmm(bias, weight, columns).T.numpy()]

    return run
