"""The plugin's counts: what was executed, block by block, and sums of it."""

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path

from ..device import DeviceError
from .instructions import effect_of

KERNELS = ""
"""The image of code that was mapped from no file: IREE's loader maps the kernels of a module so."""


@dataclasses.dataclass(frozen=True)
class Counts:
    """Instructions, and those of them that load, store, or are multiply-adds (`fmas`: fused, dot products and integer
    ones too). A pair is one load. `products` that the multiply-adds add up: 4 for four lanes of f32. Prefetches are
    no loads.
    """

    instructions: int = 0
    loads: int = 0
    stores: int = 0
    fmas: int = 0
    products: int = 0
    loaded_bytes: int = 0
    stored_bytes: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Counts(*(a + b for a, b in pairs))

    def __mul__(self, times: int) -> "Counts":
        return Counts(*(times * value for value in dataclasses.astuple(self)))


@dataclasses.dataclass(frozen=True)
class Block:
    """Instructions that run one after the other. `image`: the file they are mapped from, or `KERNELS`; `code`: their
    machine code in hexadecimal, 8 digits an instruction. Equal code of one image is one block.
    """

    image: str
    code: str

    @functools.cached_property
    def words(self) -> tuple[int, ...]:
        """The encodings of the instructions."""
        return tuple(int(self.code[i : i + 8], 16) for i in range(0, len(self.code), 8))

    @functools.cached_property
    def counts(self) -> Counts:
        """What one run of the block adds."""
        found = [effect_of(word) for word in self.words]
        loads, stores = ([getattr(e, name) for e in found] for name in ("loaded_bytes", "stored_bytes"))
        return Counts(
            instructions=len(found),
            loads=sum(size is not None for size in loads),
            stores=sum(size is not None for size in stores),
            fmas=sum(effect.products > 0 for effect in found),
            products=sum(effect.products for effect in found),
            loaded_bytes=sum(size or 0 for size in loads),
            stored_bytes=sum(size or 0 for size in stores),
        )


@dataclasses.dataclass(frozen=True)
class Executed:
    """How often each block was run; `texts`: instructions of a block as QEMU's disassembler writes them."""

    runs: dict[Block, int]
    texts: dict[Block, tuple[str, ...]]

    def __sub__(self, other: "Executed") -> "Executed":
        """What this program executed beyond the other one. Where the two entered the same code at different places,
        some blocks have fewer runs than none: sums are right all the same.
        """
        runs = {block: self.runs.get(block, 0) - other.runs.get(block, 0) for block in {**self.runs, **other.runs}}
        return Executed({block: count for block, count in runs.items() if count}, {**other.texts, **self.texts})

    def where(self, accepted: Callable[[str], bool]) -> "Executed":
        """The part in images that are accepted."""
        return Executed({block: runs for block, runs in self.runs.items() if accepted(block.image)}, self.texts)

    def kernels(self) -> "Executed":
        """The part in code that was mapped from no file."""
        return self.where(lambda image: image == KERNELS)

    def counts(self) -> Counts:
        """The sum over all blocks."""
        return sum((block.counts * runs for block, runs in self.runs.items()), Counts())

    def hottest(self) -> list[Block]:
        """The blocks, those that executed most instructions first."""
        # The code decides between equals, so that a program has one answer.
        return sorted(self.runs, key=lambda b: (-self.runs[b] * b.counts.instructions, b.image, b.code))


def read_counts(path: Path) -> Executed:
    """What the plugin wrote. Raises `DeviceError`."""
    try:
        value = json.loads(path.read_text(errors="replace"))
        images, listed = value["images"], value["blocks"]
    except (OSError, ValueError, KeyError) as error:
        raise DeviceError(f"QEMU's counting plugin left no counts in '{path}': {error}") from None
    runs: dict[Block, int] = {}
    texts: dict[Block, tuple[str, ...]] = {}
    for image, _, count, code, text in listed:
        block = Block(images[image], code)
        runs[block] = runs.get(block, 0) + count
        texts[block] = tuple(text)
    return Executed(runs, texts)
