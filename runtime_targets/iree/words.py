"""Bytes that a GPU's kernel reads and writes as words of 32 bits: its buffers are buffers of words.

before:
    func.func private @k(%q: memref<1x2x192x64x4xi8>, %values: memref<?xi8>, ...) {
      %flat = memref.collapse_shape %q [[0, 1, 2, 3, 4]] : memref<1x2x192x64x4xi8> into memref<98304xi8>
      %x = memref.view %flat[%zero][] : memref<98304xi8> to memref<1x2x12288xi32>
      %size = memref.dim %values, %zero : memref<?xi8>
      %w = memref.view %values[%zero][%words] : memref<?xi8> to memref<?xi32>
after:
    func.func private @k(%x: memref<1x2x12288xi32>, %w: memref<?xi32>, ...) {

Rationale: the buffers that a dispatch is given have no type, and a GPU need not have numbers of 8 bits.
"""

from torch_mlir import ir

_VIEW, _FLAT, _SIZE = "memref.view", "memref.collapse_shape", "memref.dim"


def lower_words(kernel: ir.Operation) -> None:
    """Gives the memrefs of bytes that `kernel` only views as words the type of that view."""
    for argument in kernel.regions[0].blocks[0].arguments:
        if not isinstance(argument.type, ir.MemRefType) or str(argument.type.element_type) != "i8":
            continue
        users = _users(argument)
        views = [use for op in users for use in (_users(op.results[0]) if op.name == _FLAT else [op])]
        views = [op for op in views if op.name != _SIZE]
        types = {str(op.results[0].type) for op in views}
        if len(types) != 1 or any(op.name != _VIEW for op in views):
            continue
        kind = views[0].results[0].type
        for op in views:
            op.results[0].replace_all_uses_with(argument)
        for op in views:
            _erase_unused(op)
        argument.set_type(kind)


def _users(value: ir.Value) -> list[ir.Operation]:
    return [use.owner.operation for use in value.uses]


def _erase_unused(op: ir.Operation) -> None:
    """Erases `op`, and what it alone read."""
    if any(list(result.uses) for result in op.results):
        return
    makers = {value.owner for value in op.operands if not isinstance(value.owner, ir.Block)}
    op.erase()
    for maker in makers:
        _erase_unused(maker)
