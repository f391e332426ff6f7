"""The portable lowering of planes and of convolutions on them, as text: padding, slices, reshapes, a gather."""

import itertools
import math

import numpy as np
from torch_mlir import ir

from secateur.dialects.sparsity.attributes import Planes

from .linalg_conv import epilogue_of_filters
from .linalg_text import Snippet, padded, tensor


def to_planes(snippet: Snippet, op: ir.OpView, names: dict[str, str]) -> str:
    """Each phase: every n-th pixel, rows padded to their pitch, zeros in front and behind."""
    return planes_of_image(snippet, names["x"], op.planes, list(op.x.type.shape))


def from_planes(snippet: Snippet, op: ir.OpView, names: dict[str, str]) -> str:
    """The rows of pixels without their gaps."""
    return image_of_planes(snippet, names["x"], op.planes, list(op.result.type.shape))


def planes_of_image(snippet: Snippet, image: str, planes: Planes, shape: list[int]) -> str:
    """An image of `shape` in planes."""
    values = planes.values()
    pitches, phases, length, outer = values["pitches"], values["phases"], values["length"], shape[:2]
    made = []
    for phase in itertools.product(*map(range, phases)):
        value, size = image, shape
        if math.prod(phases) > 1:
            kept = [*outer, *(-(-(n - at) // step) for n, at, step in zip(shape[2:], phase, phases, strict=True))]
            if min(kept) == 0:
                # An image that is smaller than its strides has phases without a pixel.
                made.append(snippet.filled([*outer, length], 0.0))
                continue
            value = snippet.line(
                f"tensor.extract_slice {value}{[0, 0, *phase]} {kept} {[1, 1, *phases]} : {tensor(shape)} to"
                f" {tensor(kept)}"
            )
            size = kept
        rows = [*size[:3], *(pitches[axis] // pitches[axis + 1] for axis in range(len(pitches) - 1))]
        value = padded(snippet, value, size, [0] * len(size), rows)
        flat = [*outer, math.prod(rows[2:])]
        if len(rows) > 3:
            groups = [[0], [1], list(range(2, len(rows)))]
            value = snippet.line(f"tensor.collapse_shape {value} {groups} : {tensor(rows)} into {tensor(flat)}")
        # The last row's gap may reach behind the plane.
        most = min(flat[2], length - values["origin"])
        if most < flat[2]:
            cut = [*outer, most]
            value = snippet.line(
                f"tensor.extract_slice {value}[0, 0, 0] {cut} [1, 1, 1] : {tensor(flat)} to {tensor(cut)}"
            )
            flat = cut
        made.append(padded(snippet, value, flat, [0, 0, values["origin"]], [*outer, length]))
    if len(made) == 1:
        return made[0]
    kind = ", ".join([tensor([*outer, length])] * len(made))
    return snippet.line(f"tensor.concat dim(2) {', '.join(made)} : ({kind}) -> {tensor(planes.shape(*outer))}")


def image_of_planes(snippet: Snippet, value: str, planes: Planes, shape: list[int]) -> str:
    """The image of `shape` that lies in planes. Raises `ValueError` for planes in phases, which are only read."""
    values = planes.values()
    pitches, outer, origin = values["pitches"], shape[:2], values["origin"]
    if math.prod(values["phases"]) > 1:
        raise ValueError("planes in phases are not made into images")
    rows = [shape[2], *(pitches[axis] // pitches[axis + 1] for axis in range(len(pitches) - 1))]
    flat = [*outer, math.prod(rows)]
    found = planes.shape(*outer)
    # The last row's gap may reach behind the plane.
    whole = [*outer, max(values["length"], origin + flat[2])]
    value = padded(snippet, value, found, [0, 0, 0], whole)
    value = snippet.line(
        f"tensor.extract_slice {value}{[0, 0, origin]} {flat} [1, 1, 1] : {tensor(whole)} to {tensor(flat)}"
    )
    if len(rows) > 1:
        cut = [*outer, *rows]
        groups = [[0], [1], list(range(2, len(cut)))]
        text = f"tensor.expand_shape {value} {groups} output_shape {cut} : {tensor(flat)} into {tensor(cut)}"
        value = snippet.line(text)
        flat = cut
    if flat == shape:
        return value
    starts, steps = [0] * len(flat), [1] * len(flat)
    return snippet.line(f"tensor.extract_slice {value}{starts} {shape} {steps} : {tensor(flat)} to {tensor(shape)}")


def packed_conv(snippet: Snippet, op: ir.OpView, names: dict[str, str], arrays: dict[str, np.ndarray]) -> str:
    """Gather, contraction, row order and epilogue; `arrays` are those of the rectangle, `lists` of places in x."""
    batch, filters, length = op.result.type.shape
    _, channels, places = op.x.type.shape
    tiles, rows, columns = arrays["weights"].shape
    positions, origin = op.pixels.type.shape[0], op.planes.values()["origin"]
    flat = tensor([batch, channels * places])
    x = snippet.line(f"tensor.collapse_shape {names['x']} [[0], [1, 2]] : {tensor(op.x.type.shape)} into {flat}")
    index = [
        "%k = arith.index_cast %a : i32 to index",
        "%i = linalg.index 0 : index",
        "%m = linalg.index 3 : index",
        "%at = arith.addi %k, %m : index",
        f"%v = tensor.extract {x}[%i, %at] : {flat}",
        "%v",
    ]
    lists = [(names["lists"], tensor([tiles, columns], "i32"), "nc")]
    gathered = [batch, tiles, columns, positions]
    gather = snippet.generic("bncm", lists, "bncm", gathered, index)
    sums = [batch, tiles, rows, positions]
    weights = (names["weights"], tensor([tiles, rows, columns]), "nrc")
    product = ["%p = arith.mulf %a, %b : f32", "%s = arith.addf %acc, %p : f32", "%s"]
    total = snippet.generic("bnrmc", [weights, (gather, tensor(gathered), "bncm")], "bnrm", sums, product, start=0.0)
    every = [batch, tiles * rows, positions]
    total = snippet.line(f"tensor.collapse_shape {total} [[0], [1, 2], [3]] : {tensor(sums)} into {tensor(every)}")
    shape = [batch, filters, positions]
    ordered = [
        "%r = arith.index_cast %a : i32 to index",
        "%i = linalg.index 0 : index",
        "%m = linalg.index 2 : index",
        f"%v = tensor.extract {total}[%i, %r, %m] : {tensor(every)}",
        "%v",
    ]
    total = snippet.generic("bfm", [(names["place"], tensor([filters], "i32"), "f")], "bfm", shape, ordered)
    given = dict(names)
    if "residual" in names:
        cut = f"{[0, 0, origin]} {shape} [1, 1, 1] : {tensor(op.result.type.shape)} to {tensor(shape)}"
        given["residual"] = snippet.line(f"tensor.extract_slice {names['residual']}{cut}")
    total = epilogue_of_filters(snippet, op, total, given, shape, "bfm")
    kept = [
        "%zero = arith.constant 0.0 : f32",
        "%is = arith.cmpf one, %b, %zero : f32",
        "%v = arith.select %is, %a, %zero : f32",
        "%v",
    ]
    masked = [(total, tensor(shape), "bfm"), (names["pixels"], tensor([positions]), "m")]
    total = snippet.generic("bfm", masked, "bfm", shape, kept)
    return padded(snippet, total, shape, [0, 0, origin], [batch, filters, length])
