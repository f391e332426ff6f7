"""ExecuTorch with its XNNPACK delegate; what the delegate does not take runs on ExecuTorch's own portable kernels."""

PACKAGES = ("executorch",)


def load(model):
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    path = model.converted("model.pte", lambda new: convert(model, new))
    # "Unsafe" while a model runs; none is loaded yet.
    portable_lib._unsafe_reset_threadpool(model.threads)
    method = Runtime.get().load_program(path).load_method("forward")
    inputs = model.tensors()
    return lambda: [output.numpy() for output in method.execute(inputs)]


def convert(model, path):
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    lowered = to_edge_transform_and_lower(model.program(), partitioner=[XnnpackPartitioner()])
    path.write_bytes(lowered.to_executorch().buffer)
