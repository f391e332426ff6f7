"""Moves activations into feature-major panels and cancels the transposes between neighbours.

before:
    %y = "sparsity.packed_linear"(%x, ...) : (tensor<1x128x768xf32>, ...) -> tensor<1x128x3072xf32>
    %z = "sparsity.packed_linear"(%y, ...) : (tensor<1x128x3072xf32>, ...) -> tensor<1x128x768xf32>
after:
    %p = "sparsity.to_panels"(%x) : (tensor<1x128x768xf32>) -> tensor<1x2x768x64xf32>
    %y = "sparsity.packed_linear"(%p, ...) {layout = ...} : (tensor<1x2x768x64xf32>, ...) -> tensor<1x2x3072x64xf32>
    %q = "sparsity.packed_linear"(%y, ...) {layout = ...} : (tensor<1x2x3072x64xf32>, ...) -> tensor<1x2x768x64xf32>
    %z = "sparsity.from_panels"(%q) : (tensor<1x2x768x64xf32>) -> tensor<1x128x768xf32>

The panel (64, 32 or 16 tokens) with the least padding is chosen per sequence length, the larger one where two are
equal. In attention, padded keys get a bias of minus infinity, so that no query sees them; padded queries are finite
and cut off by `from_panels`. A `[tokens, features]` operand becomes a batch of one.

Preconditions: static f32 activations of two or three dimensions; queries and keys that get the same panel; no layout.
Other ops are left alone, as is a module whose linear layers all have rows for lanes (`sparsity.sliced_linear`, which
works on token-major activations). Rationale: panels are cut from one sequence each, and a kernel has one panel.
"""

import dataclasses
import math

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith, linalg, tensor

from secateur.dialects.sparsity.attributes import Layout
from secateur.dialects.sparsity.ops import OPS
from secateur.dialects.sparsity.ops.panels import FromPanelsOp, ToPanelsOp
from secateur.dialects.sparsity.rules import layout_of

from ..base import Pass, PassContext, PassFailure, walk

PANELS = (64, 32, 16)
_OPS = tuple(name for name, op in OPS.items() if op.IN_PANELS)


def choose_panel(tokens: int) -> int:
    """Tokens in a panel: the least padding, then the larger panel."""
    return min(PANELS, key=lambda panel: (-(-tokens // panel) * panel, -panel))


def _f32(shape: list[int]) -> ir.RankedTensorType:
    return ir.RankedTensorType.get(shape, ir.F32Type.get())


def _to_panels(value: ir.Value, layout: Layout) -> ir.Value:
    shape = list(value.type.shape)
    if len(shape) == 2:
        value = tensor.expand_shape(_f32([1, *shape]), value, [[0, 1], [2]], [], [1, *shape])
    batch, tokens, features = value.type.shape
    return ToPanelsOp(_f32(layout.shape(batch, tokens, features)), value, layout).result


def _from_panels(value: ir.Value, shape: list[int], layout: ir.Attribute) -> ir.Value:
    whole = shape if len(shape) == 3 else [1, *shape]
    result = FromPanelsOp(_f32(whole), value, layout).result
    return result if len(shape) == 3 else tensor.collapse_shape(_f32(shape), result, [[0, 1], [2]])


def _pad(value: ir.Value, shape: list[int], fill: float) -> ir.Value:
    """`value` extended at the ends to `shape` with `fill`."""
    found = list(value.type.shape)
    if found == shape:
        return value
    high = [a - b for a, b in zip(shape, found, strict=True)]
    padded = tensor.PadOp(_f32(shape), value, [], [], [0] * len(shape), high)
    block = padded.regions[0].blocks.append(*[ir.IndexType.get()] * len(shape))
    with ir.InsertionPoint(block):
        tensor.YieldOp(arith.constant(ir.F32Type.get(), fill))
    return padded.result


def _key_bias(op: ir.OpView, keys: int, padded: int) -> ir.Value | None:
    """The key bias with padded keys at minus infinity; None where nothing is padded and there was none."""
    batch = op.key.type.shape[0]
    if op.key_bias is not None:
        return _pad(op.key_bias, [batch, padded], -math.inf)
    if padded == keys:
        return None
    bias = np.zeros((batch, padded), dtype=np.float32)
    bias[:, keys:] = -math.inf
    return arith.constant(_f32([batch, padded]), ir.DenseElementsAttr.get(bias))


def _transposed_bias(bias: ir.Value, keys: int, tokens: int) -> ir.Value:
    """A bias [.., .., tokens, keys] as [.., .., padded keys, padded tokens]."""
    first, second, _, _ = bias.type.shape
    padded = _pad(bias, [first, second, tokens, keys], 0.0)
    empty = tensor.empty([first, second, keys, tokens], ir.F32Type.get())
    return linalg.transpose(padded, outs=[empty], permutation=[0, 1, 3, 2]).result[0]


def _fits(op: ir.OpView) -> bool:
    shapes = [getattr(op, name).type for name in op.IN_PANELS if getattr(op, name) is not None]
    if layout_of(op) is not None or any(str(t.element_type) != "f32" or not t.has_static_shape for t in shapes):
        return False
    if op.operation.name == "sparsity.attention":
        return choose_panel(op.query.type.shape[1]) == choose_panel(op.key.type.shape[1])
    return all(t.rank in (2, 3) for t in shapes)


@dataclasses.dataclass(frozen=True)
class SparsityLayout(Pass):
    """Moves activations into feature-major panels and cancels transposes between neighbours."""

    panel: int = 0

    name = "sparsity-layout"

    def run(self, module: ir.Module, context: PassContext) -> None:
        if self.panel not in (0, *PANELS):
            accepted = ", ".join(map(str, PANELS))
            raise PassFailure(module.operation, f"expected 'panel' among {accepted}, found {self.panel}")
        if walk(module, "sparsity.sliced_linear") and not walk(module, "sparsity.packed_linear"):
            return
        for op in walk(module, *_OPS):
            if _fits(op):
                self._convert(op)
                context.count("ops-in-panels")
        for op in walk(module, "sparsity.to_panels"):
            owner = op.x.owner
            if isinstance(owner, ir.Block) or owner.name != "sparsity.from_panels":
                continue
            if owner.opview.layout == op.layout:
                op.result.replace_all_uses_with(owner.opview.x)
                op.operation.erase()
                context.count("transposes-cancelled")
        known: dict[tuple[ir.Value, str], ir.OpView] = {}
        for op in walk(module, "sparsity.to_panels"):
            first = known.setdefault((op.x, str(op.layout)), op)
            if first is not op and first.operation.block == op.operation.block:
                op.result.replace_all_uses_with(first.result)
                op.operation.erase()
                context.count("transposes-shared")
        _drop_unused(module)

    def _convert(self, op: ir.OpView) -> None:
        names = op.IN_PANELS
        shape = list(op.result.type.shape)
        with op.location, ir.InsertionPoint(op):
            layouts, seen = {}, {}
            for name in names:
                value = getattr(op, name)
                if value is None:
                    continue
                layouts[name] = Layout.of(panel=self.panel or choose_panel(value.type.shape[-2]), inner=1)
                if value not in seen:
                    seen[value] = _to_panels(value, layouts[name])
            layout = layouts[names[0]]
            changed = {name: seen[getattr(op, name)] for name in layouts}
            if op.operation.name == "sparsity.attention":
                changed |= self._biases(op, layout)
            whole = shape if len(shape) == 3 else [1, *shape]
            new = op.rebuild(_f32(layout.shape(*whole)), layout=layout, **changed)
            result = _from_panels(new.result, shape, layout)
        op.result.replace_all_uses_with(result)
        op.operation.erase()

    def _biases(self, op: ir.OpView, layout: Layout) -> dict[str, ir.Value]:
        """The biases for panels, by operand; a key bias too where there was none and keys are padded."""
        panel, _ = layout.tile()
        length = op.key.type.shape[1]
        padded = [-(-n // panel) * panel for n in (length, op.query.type.shape[1])]
        changed = {} if op.bias is None else {"bias": _transposed_bias(op.bias, *padded)}
        changed["key_bias"] = _key_bias(op, length, padded[0])
        return {name: value for name, value in changed.items() if value is not None}


def _drop_unused(module: ir.Module) -> None:
    """Erases reshapes and panel changes that nobody reads any more."""
    names = ("sparsity.from_panels", "sparsity.to_panels", "tensor.expand_shape", "tensor.collapse_shape")
    for op in reversed(walk(module, *names)):
        if not list(op.operation.results[0].uses):
            op.operation.erase()
