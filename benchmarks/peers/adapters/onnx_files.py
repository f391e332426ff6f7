"""No engine: writes the ONNX files of those that read ONNX, whose environments need no PyTorch then.

`model.onnx` is PyTorch's own export. `plain.onnx` has opset 13 and attention as products and a softmax, for
converters that know no newer op.
"""

PACKAGES = ("torch", "onnx", "onnxscript")


def load(model):
    model.converted("model.onnx", lambda new: export(model, new))
    model.converted("plain.onnx", lambda new: export_plain(model, new))
    return lambda: []


def export(model, path):
    import torch

    names = list(model.inputs)
    torch.onnx.export(
        model.program(), (), path, dynamo=True, input_names=names, external_data=False, optimize=True, verbose=False
    )


def export_plain(model, path):
    import torch

    module = model.program().module(check_guards=False)
    aten = torch.ops.aten
    for node in list(module.graph.nodes):
        if node.target is aten.scaled_dot_product_attention.default:
            node.target = plain_attention
        elif node.op == "call_function" and not node.all_input_nodes:
            # Constants that are made by an op: the exporter knows not all of these ops.
            name = f"made_{node.name}"
            module.register_buffer(name, node.target(*node.args, **node.kwargs))
            with module.graph.inserting_before(node):
                node.replace_all_uses_with(module.graph.get_attr(name))
            module.graph.erase_node(node)
    module.recompile()
    # The exporter sets evaluation mode, which an exported program refuses because it has no other.
    module.train = lambda mode=True: module
    torch.onnx.export(
        module, model.tensors(), str(path), dynamo=False, opset_version=13, input_names=list(model.inputs)
    )  # fmt: skip


def plain_attention(query, key, value, mask=None, dropout_p=0.0, is_causal=False, *, scale=None, enable_gqa=False):
    """`scaled_dot_product_attention` without a dropout, as products and a softmax."""
    import torch

    if is_causal or enable_gqa:
        raise NotImplementedError("attention that is causal or has shared heads")
    scores = torch.matmul(query * (scale or query.shape[-1] ** -0.5), key.transpose(-2, -1))
    if mask is not None:
        if mask.dtype == torch.bool:
            mask = torch.where(mask, torch.tensor(0.0), torch.tensor(torch.finfo(torch.float32).min))
        scores = scores + mask
    return torch.matmul(torch.softmax(scores, -1), value)
