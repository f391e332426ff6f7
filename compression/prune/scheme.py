"""What a weight is pruned to: a scheme and the size of its blocks, from what a user types."""

import dataclasses
import difflib
import re

from secateur.dialects.errors import SecateurError

# Scheme -> separator of its two sizes, or "" for one size, None for none; and its default size.
SCHEMES: dict[str, tuple[str | None, tuple[int, ...]]] = {
    "bcr": ("x", (4, 1)),
    "block": ("", (64,)),
    "pattern": ("x", (4, 4)),
    "punched": ("x", (4, 4)),
    "filter": (None, ()),
    "nm": (":", (2, 4)),
    "unstructured": (None, ()),
}


class PruneError(SecateurError):
    """A weight or a model cannot be pruned as asked; the text is one sentence."""


@dataclasses.dataclass(frozen=True)
class Scheme:
    """A scheme's name and sizes.

    `bcr` (rows, columns) of a block; `block` (columns,) of a chunk; `pattern` (p, p) of a tile; `punched`
    (filters, channels); `nm` (n, m); `filter` and `unstructured` none.
    Raises `PruneError` for an unknown name and for sizes that the scheme does not have.
    """

    name: str
    sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in SCHEMES:
            near = difflib.get_close_matches(self.name, SCHEMES, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise PruneError(f"unknown scheme '{self.name}': {hint}accepted are {', '.join(SCHEMES)}")
        default = SCHEMES[self.name][1]
        if len(self.sizes) != len(default) or any(size < 1 for size in self.sizes):
            raise PruneError(f"scheme '{self.name}' takes {_form(self.name)}, found sizes {list(self.sizes)}")
        if self.name == "nm" and self.sizes[0] >= self.sizes[1]:
            raise PruneError(f"scheme 'nm' keeps n of m columns with n < m, found {self}")
        if self.name == "pattern" and not (self.sizes[0] == self.sizes[1] <= 5):
            raise PruneError(f"scheme 'pattern' takes square tiles up to 5x5, found {self}")

    def __str__(self) -> str:
        separator = SCHEMES[self.name][0]
        return " ".join([self.name, *([(separator or "").join(map(str, self.sizes))] if self.sizes else [])])


def _form(name: str) -> str:
    separator, default = SCHEMES[name]
    if separator is None:
        return "no block"
    sizes = "two positive sizes" if len(default) == 2 else "one positive size"
    return f"{sizes} such as {separator.join(map(str, default))}"


def parse_scheme(name: str, block: str | None = None) -> Scheme:
    """The scheme for `--scheme name --block text`: `4x16` (bcr, punched), `64` (block), `4x4` or `4` (pattern),
    `2:4` (nm), None for the default of the scheme. Raises `PruneError`.
    """
    if name not in SCHEMES or block is None:
        return Scheme(name, SCHEMES[name][1] if name in SCHEMES else ())
    separator, _ = SCHEMES[name]
    text = f"{block}x{block}" if name == "pattern" and block.isdecimal() else block
    parts = text.split(separator) if separator else [text]
    if separator is None or not all(re.fullmatch(r"[0-9]{1,9}", part) for part in parts):
        raise PruneError(f"scheme '{name}' takes {_form(name)}, found '{block}'")
    return Scheme(name, tuple(int(part) for part in parts))
