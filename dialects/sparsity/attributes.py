"""Attributes: encodings of a weight's zeros, layout of activations, schedule of an op, target description.

Each holds one dictionary, printed as `#sparsity.bcr<{block_rows = 4 : i64, block_columns = 16 : i64}>`.
`FIELDS` lists what the dictionary must hold; ops that carry an attribute check it with `check`.
"""

import dataclasses
import types
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from torch_mlir import ir

from .. import schemes
from ..number_formats import F32, NumberFormat, NumberFormatError, number_format
from ..schemes import Encoding, encoding_of
from .dialect import Sparsity, VerifyError, expect, note

TARGET = "sparsity.target"


def to_attribute(value: object) -> ir.Attribute:
    """The attribute of a Python value: integers are i64, floats f64; an attribute stays as it is."""
    if isinstance(value, ir.Attribute):
        return value
    if isinstance(value, bool):
        return ir.BoolAttr.get(value)
    if isinstance(value, int):
        return ir.IntegerAttr.get(ir.IntegerType.get_signless(64), value)
    if isinstance(value, float):
        return ir.FloatAttr.get(ir.F64Type.get(), value)
    if isinstance(value, str):
        return ir.StringAttr.get(value)
    if isinstance(value, (list, tuple)):
        return ir.ArrayAttr.get([to_attribute(v) for v in value])
    if isinstance(value, Mapping):
        return ir.DictAttr.get({k: to_attribute(v) for k, v in value.items()})
    raise TypeError(f"no attribute for a {type(value).__name__}")


def to_python(attribute: ir.Attribute) -> object:
    """The Python value of an integer, float, bool, string, array or dictionary attribute; another as it is."""
    attribute = attribute.maybe_downcast()
    if isinstance(attribute, ir.ArrayAttr):
        return [to_python(a) for a in attribute]
    if isinstance(attribute, ir.DictAttr):
        return {named.name: to_python(named.attr) for named in attribute}
    if isinstance(attribute, (ir.DenseI64ArrayAttr, ir.DenseI32ArrayAttr)):
        return list(attribute)
    return getattr(attribute, "value", attribute)


class Described(Sparsity.Attribute):
    """Base of the dialect's attributes: one dictionary parameter with declared fields."""

    fields: ir.DictAttr
    FIELDS = ()
    OPTIONAL = ()
    # The fields that hold a list of integers, and those that hold a text; all others hold one positive integer.
    LISTS = ()
    TEXTS = ()

    @classmethod
    def of(cls, **values: object) -> ir.Attribute:
        """Builds the attribute from Python values: `Bcr.of(block_rows=4, block_columns=16)`."""
        return cls.get(to_attribute(values))

    def values(self) -> dict:
        """The fields as Python values."""
        return to_python(self.fields)

    def check(self) -> None:
        """Raises `VerifyError` for a missing or unknown field, or one that is no positive integer."""
        values, name = self.values(), self.attr_name
        for field in self.FIELDS:
            expect(field in values, f"expected #{name} to have '{field}', found {sorted(values)}")
        for field, value in values.items():
            known = (*self.FIELDS, *self.OPTIONAL)
            expect(field in known, f"unknown field '{field}' of #{name}; accepted: {', '.join(known) or 'none'}")
            if field in self.LISTS:
                integers = isinstance(value, list) and all(type(v) is int for v in value)
                expect(integers, f"expected '{field}' of #{name} to be a list of integers, found {value}")
            elif field in self.TEXTS:
                expect(isinstance(value, str), f"expected '{field}' of #{name} to be a text, found {value}")
            else:
                positive = type(value) is int and value > 0
                expect(positive, f"expected '{field}' of #{name} to be a positive integer, found {value}")


class EncodingAttribute(Described):
    """Base of the encodings: the fields, the rules and the text are those of the description in `dialects/schemes`."""

    DESCRIPTION = Encoding

    @classmethod
    def of_encoding(cls, encoding: Encoding) -> ir.Attribute:
        """The attribute of a description."""
        return ENCODINGS[encoding.scheme].of(**encoding.parameters())

    def encoding(self) -> Encoding:
        """The description that the attribute holds. Raises `ValueError` where `check` raises `VerifyError`."""
        return encoding_of(self.DESCRIPTION.scheme, self.values())

    def check(self) -> None:
        super().check()
        try:
            self.encoding().check()
        except ValueError as error:
            raise VerifyError(str(error)) from None


def _attribute_of(description: type[Encoding]) -> type[EncodingAttribute]:
    fields = dataclasses.fields(description)
    members = {
        "__doc__": description.__doc__,
        "__module__": __name__,
        "__annotations__": {},
        "DESCRIPTION": description,
        "FIELDS": tuple(field.name for field in fields),
        "LISTS": tuple(field.name for field in fields if field.type is not int),
    }
    keywords = {"name": description.scheme}
    return types.new_class(description.__name__, (EncodingAttribute,), keywords, lambda space: space.update(members))


ENCODINGS = {scheme: _attribute_of(description) for scheme, description in schemes.ENCODINGS.items()}
Dense, Bcr = ENCODINGS["dense"], ENCODINGS["bcr"]


class Layout(Described, name="layout"):
    """Feature-major panels: `[batch][panel][features / inner][tokens in panel][inner]`.

    `panel` is the number of tokens in a panel; `inner` (1; 4 or 8 for dot products of bytes) the number of neighbouring
    features kept together. Tensors with `inner = 1` have no last dimension.
    """

    FIELDS = ("panel", "inner")
    INNER = (1, 4, 8)
    AXES = ("batch", "panels", "features", "tokens", "inner")

    def check(self) -> None:
        super().check()
        inner = self.values()["inner"]
        expect(inner in self.INNER, f"expected 'inner' of #sparsity.layout to be 1, 4 or 8, found {inner}")

    def tile(self) -> tuple[int, int]:
        """Tokens in a panel, and neighbouring features kept together."""
        return self.values()["panel"], self.values()["inner"]

    def axis(self, name: str) -> int:
        """The dimension called `name`, one of `AXES`, in a tensor of this layout."""
        return self.AXES.index(name)

    def shape(self, batch: int, tokens: int, features: int) -> list[int]:
        """The shape of a tensor of `[batch, tokens, features]` in this layout; the last panel is filled up."""
        panel, inner = self.tile()
        last = [panel] if inner == 1 else [panel, inner]
        return [batch, -(-tokens // panel), features // inner, *last]

    def sizes(self, shape: Sequence[int]) -> tuple[int, int, int, int]:
        """Batch, panels, features and tokens in a panel of a tensor of this layout, from its `shape`."""
        panel, inner = self.tile()
        return shape[0], shape[1], shape[2] * inner, panel


class Planes(Described, name="planes"):
    """Images as planes of pixels with zeros between and around them: `[batch][channel][phase][position]`.

    Pixel i of an image of `sizes` lies at the position `origin + sum(i // phases * pitches)` of the phase `i % phases`
    (row-major over dimensions), and every phase has `length` positions; those without a pixel hold zeros. `pitches`
    leave a gap behind each row of pixels, which is the border of the next row too. `phases` are the strides of the
    windows that read the image: all pixels that one position of a kernel meets are then neighbours in one phase.
    """

    FIELDS = ("sizes", "pitches", "phases", "origin", "length")
    LISTS = ("sizes", "pitches", "phases")

    def check(self) -> None:
        super().check()
        values = self.values()
        lists = [values[name] for name in self.LISTS]
        fits = len({len(found) for found in lists}) == 1 and all(n > 0 for found in lists for n in found)
        expect(fits, f"expected as many positive sizes, pitches and phases in #sparsity.planes, found {lists}")
        last = values["origin"] + int(sum((-(-n // s) - 1) * p for n, p, s in zip(*self._geometry(), strict=True)))
        expect(last < values["length"], f"expected a length above the last pixel's position {last}, found {values}")

    def _geometry(self) -> tuple[list[int], list[int], list[int]]:
        values = self.values()
        return values["sizes"], values["pitches"], values["phases"]

    def positions(self) -> np.ndarray:
        """The place of every pixel among the positions of all phases of a plane, an array of `sizes`."""
        sizes, pitches, phases = self._geometry()
        values = self.values()
        pixels = np.indices(sizes)
        phase, place = np.zeros(sizes, np.int64), np.full(sizes, values["origin"], np.int64)
        for index, pitch, count in zip(pixels, pitches, phases, strict=True):
            phase = phase * count + index % count
            place += index // count * pitch
        return phase * values["length"] + place

    def shape(self, batch: int, channels: int) -> list[int]:
        """The shape of a tensor of these planes."""
        values = self.values()
        return [batch, channels, int(np.prod(values["phases"])) * values["length"]]


class Schedule(Described, name="schedule"):
    """How an op is to be computed. Fields (all optional; a pass fills in its default):

    `row_tile` output rows in registers; `token_vectors` vectors of tokens in registers; `unroll` columns
    per iteration; `tile_group` tiles of rows that take turns on each block of tokens (1, or absent: a tile does all its
    tokens first); `workgroups` pieces that rows are cut into; `row_vectors` vectors of rows in registers: rows, not
    tokens, are the lanes then, and `token_vectors` counts tokens (absent: tokens are the lanes); `column_pieces`
    threads of a GPU that share the columns of a tile; `pixels` of a convolution that a workgroup computes (absent: all
    of an image).
    """

    OPTIONAL = ("row_tile", "token_vectors", "unroll", "tile_group", "workgroups", "row_vectors", "column_pieces",
                "pixels")  # fmt: skip


class Numbers(Described, name="numbers"):
    """How the numbers of a layer are to be stored and multiplied: `weights` and `arithmetic` name a number format.

    `half_sums`: how many products are summed in f16, where it is not the format's own number.
    """

    FIELDS = ("weights", "arithmetic")
    OPTIONAL = ("half_sums",)
    TEXTS = ("weights", "arithmetic")

    def check(self) -> None:
        super().check()
        self.format()

    def format(self) -> NumberFormat:
        """The format of these names."""
        values = self.values()
        try:
            return number_format(values["weights"], values["arithmetic"])
        except NumberFormatError as error:
            raise VerifyError(str(error)) from None


class Target(Described, name="target"):
    """What passes may know of the machine: a module attribute `sparsity.target`.

    `vector_bytes` and `registers` of the vector unit; `workers` threads that will run workgroups;
    `l1_bytes`, `l2_bytes` caches of a core; `subgroup` lanes of a GPU subgroup; `threads`, how many a dispatch on a GPU
    should have at least (absent: a CPU); `dot`, the instruction that sums
    products of bytes, one of `DOTS` (absent: none that kernels know); `gather`, 1 where an instruction that loads
    each lane from an address of its own pays (absent: it does not, or there is none); `half_products`, 1 where a GPU
    multiplies f16 faster than f32 (absent: it has no f16, or emulates it).
    """

    FIELDS = ("vector_bytes", "registers")
    OPTIONAL = ("workers", "l1_bytes", "l2_bytes", "subgroup", "threads", "kernels", "dot", "gather", "half_products")
    TEXTS = ("dot",)
    DOTS = ("vpdpbusd", "vpmaddwd", "smmla", "sdot", "saddlp", "OpSDot")

    def check(self) -> None:
        super().check()
        found = self.values()["vector_bytes"]
        expect(found % 4 == 0, f"expected 'vector_bytes' of #sparsity.target to be a multiple of 4, found {found}")
        for flag in ("gather", "half_products"):
            found = self.values().get(flag, 1)
            expect(found == 1, f"expected '{flag}' of #sparsity.target to be 1 or absent, found {found}")
        dot = self.values().get("dot", self.DOTS[0])
        expect(dot in self.DOTS, f"expected 'dot' of #sparsity.target among {', '.join(self.DOTS)}, found '{dot}'")


def _of_kind(name: str, *kinds: type[Described]) -> Callable[[ir.Attribute], None]:
    """The rule that an attribute is one of the dialect's `kinds` and holds the right fields."""

    def rule(attribute: ir.Attribute) -> None:
        accepted = ", ".join(f"#{kind.attr_name}" for kind in kinds)
        wanted = f"one of {accepted}" if len(kinds) > 1 else accepted
        expect(isinstance(attribute, kinds), f"expected '{name}' to be {wanted}, found {attribute}")
        attribute.check()

    return rule


def _order(attribute: ir.Attribute) -> None:
    integers = isinstance(attribute, ir.DenseIntElementsAttr) and ir.ShapedType(attribute.type).rank == 1
    expect(integers, f"expected '{ORDER}' to be a dense list of row numbers, found {attribute}")


ENCODING = note("sparsity.encoding", _of_kind("sparsity.encoding", *ENCODINGS.values()))
SCHEDULE = note("sparsity.schedule", _of_kind("sparsity.schedule", Schedule))
NUMBERS = note("sparsity.numbers", _of_kind("sparsity.numbers", Numbers))
ORDER = note("sparsity.order", _order)
"""The order in which tiles take the rows of a layer: a permutation."""


def numbers_of(op: ir.OpView) -> NumberFormat:
    """The format that is noted on `op`, or that of f32."""
    return op.operation.attributes[NUMBERS].format() if NUMBERS in op.operation.attributes else F32
