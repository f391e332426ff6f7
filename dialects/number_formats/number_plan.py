"""Formats by layer: one for the whole model, and others for layers by name."""

import dataclasses
import fnmatch
import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from .number_format import NumberFormat, NumberFormatError, Storage, Tolerance

_FILE = "numbers.json"


@dataclasses.dataclass(frozen=True)
class NumberPlan:
    """`default`: the format of layers and tables that nothing else is said of. `layers`: patterns of module names
    (`*` stands for anything) and formats; the first that fits a name counts."""

    default: NumberFormat
    layers: tuple[tuple[str, NumberFormat], ...] = ()

    def of(self, name: str) -> NumberFormat:
        """The format of the layer of that name."""
        return next((found for pattern, found in self.layers if fnmatch.fnmatchcase(name, pattern)), self.default)

    def expanded(self, names: Collection[str]) -> "NumberPlan":
        """The same with the layers of these names, each by its own. Raises `NumberFormatError` for a pattern that none
        of them fits: a misspelt one would leave its layers in the default without a word."""
        for pattern, _ in self.layers:
            if not fnmatch.filter(names, pattern):
                near = ", ".join(sorted(names)[:3])
                raise NumberFormatError(
                    f"'{pattern}' is the name of no layer with weights; there are {near} and others"
                )
        return NumberPlan(self.default, tuple((name, self.of(name)) for name in names) if self.layers else ())

    @property
    def formats(self) -> tuple[NumberFormat, ...]:
        """All formats, the default first."""
        return tuple(dict.fromkeys((self.default, *(found for _, found in self.layers))))

    @property
    def is_f32(self) -> bool:
        """Whether everything stays as the model has it."""
        return all(found.is_f32 for found in self.formats)

    @property
    def storages(self) -> tuple[Storage, ...]:
        """What weights are stored as, f32 excepted."""
        return tuple(dict.fromkeys(found.storage for found in self.formats if found.storage.name != "f32"))

    @property
    def accepted(self) -> Tolerance | None:
        """What the outputs may be off by for the sake of arithmetic; None: for that of storage alone."""
        return loosest(found.arithmetic.accepted for found in self.formats)

    def __str__(self) -> str:
        """The default, and what else is said."""
        return ", ".join([str(self.default), *(f"{pattern}: {found}" for pattern, found in self.layers)])

    def pass_options(self, folder: Path) -> dict[str, dict[str, Any]]:
        """The options of passes that carry it out; formats of layers are written into `folder`, by their names."""
        found = dict(self.default.pass_options())
        if self.layers and not self.is_f32:
            file = folder / _FILE
            file.write_text(json.dumps({name: str(numbers) for name, numbers in self.layers}))
            options = {"weights": self.default.storage.name, "arithmetic": self.default.arithmetic.name}
            found["sparsity-number-format"] = {**options, "layers": str(file)}
        return found


def loosest(tolerances: Iterable[Tolerance | None]) -> Tolerance | None:
    """The largest of tolerances; None where there is none."""
    return max((found for found in tolerances if found is not None), key=lambda t: t.relative_l2, default=None)
