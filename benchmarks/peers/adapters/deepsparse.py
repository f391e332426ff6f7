"""DeepSparse, which skips zeros; from the ONNX file that `onnx_files` wrote.

int8: the form in which its vendor's tools export a BERT, and the fastest that it takes. Linear layers with constant
weights, rounded by tensor, are MatMulInteger with a bias of 32-bit integers; other products are QLinearMatMul; all else
is f32. Activations are unsigned bytes, by scales and zero points from the calibration inputs.
"""

import numpy as np

PACKAGES = ("deepsparse",)


def load(model):
    path = model.folder / "plain.onnx"
    if model.precision == "int8":
        plain = path
        path = model.converted("deepsparse.int8.onnx", lambda new: quantize(model, plain, new))
    engine = compiled(model, path)
    inputs = [model.inputs[name] for name in engine.input_names]
    return lambda: engine.run(inputs)


def compiled(model, path):
    import deepsparse

    return deepsparse.compile_model(str(path), batch_size=1, num_cores=model.threads)


def quantize(model, plain, path):
    import onnx

    onnx.save(Quantizer(onnx.load(plain), ranges(model, plain, path)).quantized(), path)


def ranges(model, plain, path):
    """The least and the greatest value of every operand and result of a product that is no constant, by name; zero is
    always among them. `path` is where a file may be written.
    """
    import onnx

    watched = onnx.load(plain)
    constants = {tensor.name for tensor in watched.graph.initializer}
    products = [node for node in watched.graph.node if node.op_type == "MatMul"]
    names = {name for node in products for name in (*node.input, *node.output)} - constants
    for name in sorted(names):
        watched.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    onnx.save(watched, path)
    engine = compiled(model, path)
    found = dict.fromkeys(names, (0.0, 0.0))
    for sample in model.calibration():
        values = engine.run([sample[name] for name in engine.input_names])
        for name, array in zip(engine.output_names, values, strict=True):
            if name in names:
                found[name] = min(found[name][0], float(array.min())), max(found[name][1], float(array.max()))
    return found


class Quantizer:
    """Rewrites the products of an ONNX model in f32; `limits` are its `ranges`."""

    def __init__(self, model, limits):
        self.model, self.graph, self.limits = model, model.graph, limits
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        self.readers = {}
        for node in self.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.nodes, self.made = [], set()

    def quantized(self):
        """The model; it is the one that was given."""
        biases = set()
        for node in self.graph.node:
            if node.op_type != "MatMul":
                if node.output[0] not in biases:
                    self.nodes.append(node)
            elif node.input[1] in self.constants:
                biases.add(self.linear(node))
            else:
                self.product(node)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        used = {name for node in self.nodes for name in node.input}
        kept = [tensor for tensor in self.graph.initializer if tensor.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)
        return self.model

    def linear(self, node):
        """MatMul by a constant, and an Add of a constant behind it -> products and sums in integers, Cast, Mul.
        Returns the name of the output, which is the Add's where there is one.
        """
        from onnx import TensorProto

        (values, scale, zero), output = self.operand(node.input[0]), node.output[0]
        weight = self.value(node.input[1])
        step = float(np.abs(weight).max()) / 127 or 1.0
        weight = self.constant(f"{output}_weight", np.rint(weight / step).astype(np.int8))
        step = np.float32(self.value(scale) * step)
        factors = [values, weight, zero, self.constant(f"{output}_weight_zero", np.int8(0))]
        sums = self.add("MatMulInteger", factors, f"{output}_sums")
        readers = self.readers.get(output, [])
        if len(readers) == 1 and readers[0].op_type == "Add" and self.constants.keys() & set(readers[0].input):
            bias = next(self.value(name) for name in readers[0].input if name in self.constants)
            rounded = self.constant(f"{output}_bias", np.rint(bias / step).astype(np.int32))
            sums, output = self.add("Add", [sums, rounded], f"{output}_biased"), readers[0].output[0]
        floats = self.add("Cast", [sums], f"{output}_floats", to=TensorProto.FLOAT)
        return self.add("Mul", [floats, self.constant(f"{output}_step", step)], output)

    def product(self, node):
        """MatMul of two activations -> QLinearMatMul, DequantizeLinear. The second has 128 for its zero."""
        left, right = self.operand(node.input[0]), self.operand(node.input[1], symmetric=True)
        grid, output = self.grid(node.output[0]), node.output[0]
        rounded = self.add("QLinearMatMul", [*left, *right, *grid], f"{output}_bytes")
        self.add("DequantizeLinear", [rounded, *grid], output)

    def operand(self, name, symmetric=False):
        """The activation `name` in bytes, its scale, its zero point, by name; made where it is first wanted."""
        grid = self.grid(name, symmetric)
        output = f"{grid[0]}_bytes"
        if output not in self.made:
            self.made.add(self.add("QuantizeLinear", [name, *grid], output))
        return output, *grid

    def grid(self, name, symmetric=False):
        """The names of a scale and a zero point for the activation `name`."""
        least, greatest = self.limits[name]
        if symmetric:
            greatest = max(-least, greatest)
            scale, zero = greatest / 127 or 1.0, 128
        else:
            scale = (greatest - least) / 255 or 1.0
            zero = round(-least / scale)
        kind = "_symmetric" if symmetric else ""
        return self.constant(f"{name}{kind}_scale", np.float32(scale)), self.constant(
            f"{name}{kind}_zero", np.uint8(zero)
        )

    def constant(self, name, value):
        """Its name."""
        from onnx import numpy_helper

        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.asarray(value), name)
            self.graph.initializer.append(self.constants[name])
        return name

    def value(self, name):
        """The array of the constant `name`."""
        from onnx import numpy_helper

        return numpy_helper.to_array(self.constants[name])

    def add(self, op, inputs, output, **attributes):
        """Appends a node with one output, whose name it returns."""
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output
