"""Apache TVM's Relax with its default CPU pipeline, without tuning; from the ONNX file that `onnx_files` wrote."""

PACKAGES = ("apache-tvm",)


def load(model):
    import onnx
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    module = from_onnx(onnx.load(model.folder / "model.onnx"), keep_params_in_input=False)
    processor = tvm.get_global_func("target.llvm_get_system_cpu")()
    target = tvm.target.Target({"kind": "llvm", "mcpu": processor, "num-cores": model.threads})
    machine = relax.VirtualMachine(tvm.compile(module, target), tvm.cpu())
    inputs = [tvm.runtime.tensor(array) for array in model.inputs.values()]

    def run():
        outputs = machine["main"](*inputs)
        return [o.numpy() for o in (outputs if isinstance(outputs, (list, tuple, tvm.ir.Array)) else [outputs])]

    return run
