"""What the accuracy page compares: ways of pruning the same trained model."""

import dataclasses
from pathlib import Path

SPARSITIES = (0.5, 0.7, 0.8, 0.9)
SCHEMES = (("bcr", "4x16"), ("bcr", "4x1"), ("bcr", "16x1"), ("block", "64"), ("unstructured", None))
# Examples of the dev set for points that are only compared with each other: one standard error is 1.3 F1.
SAMPLE = 1000


@dataclasses.dataclass(frozen=True)
class Point:
    """A pruned model: `steps` of training (with the dense model as the teacher) behind or during the pruning, then
    `more_steps` from another seed, and the number of `examples` that score it (None: all). `numbers`, what it is
    compiled to: `f32`, `int8` (weights, and what they are multiplied with), or `int8 solved`, where the weights were
    rounded as they were pruned and not each by itself."""

    scheme: str
    block: str | None
    sparsity: float
    method: str = "second-order"
    rates: str = "loss"
    steps: int = 0
    more_steps: int = 0
    learning_rate: float = 3e-4
    examples: int | None = SAMPLE
    numbers: str = "f32"

    @property
    def name(self) -> str:
        """A name for tables and folders."""
        parts = [self.shape, f"{self.sparsity:.0%}", self.method, *([self.rates] if self.rates != "uniform" else [])]
        length = f"{self.steps}+{self.more_steps}" if self.more_steps else str(self.steps)
        parts += [f"{length} steps"] if self.steps else []
        return " ".join([*parts, *([self.numbers] if self.numbers != "f32" else [])]).replace("%", "")

    @property
    def pruned(self) -> "Point":
        """The point whose pruned model this one compiles: that of f32, unless the model itself is rounded."""
        return self if self.numbers == "int8 solved" else dataclasses.replace(self, numbers="f32")

    @property
    def shape(self) -> str:
        """The scheme with its block."""
        return f"{self.scheme} {self.block}" if self.block else self.scheme

    @property
    def charted(self) -> bool:
        """Whether the chart shows it: second-order with rates by loss; if trained, as well as it could be."""
        usual = (self.method, self.rates, self.numbers) == ("second-order", "loss", "f32")
        return usual and (not self.steps or self.examples is None)

    @property
    def before(self) -> "Point | None":
        """The point that this one goes on from."""
        return dataclasses.replace(self, more_steps=0) if self.more_steps else None

    def command(self, dense: Path, task: str, out: Path, start: Path | None = None) -> list[str]:
        """`secateur prune`, with what makes this point; `start` is the folder of the point before."""
        if start is not None:
            found = ["prune", str(start), "-o", str(out), "--data", task, "--method", "fixed", "--seed", "1"]
            return [*found, "--teacher", str(dense), "--distill", *self._length(self.more_steps)]
        found = ["prune", str(dense), "-o", str(out), "--data", task, "--method", self.method]
        found += ["--scheme", self.scheme, *(["--block", self.block] if self.block else [])]
        found += ["--sparsity", str(self.sparsity), "--rates", self.rates]
        found += ["--weights", "int8"] if self.numbers == "int8 solved" else []
        return [*found, "--distill", *self._length(self.steps)] if self.steps else found

    def _length(self, steps: int) -> list[str]:
        return ["--steps", str(steps), "--learning-rate", str(self.learning_rate)]


# Units for bytes, of which four neighbours in a row are multiplied at once, beside the others.
UNITS = [
    *(Point("tile", f"{rows}x4", 0.7, numbers=numbers) for rows in (1, 2, 4, 8, 16) for numbers in ("f32", "int8")),
    *(Point("bcr", block, 0.7, numbers="int8") for block in ("4x1", "4x16", "16x1")),
    *(Point(*shape, 0.7, numbers="int8 solved") for shape in (("bcr", "4x1"), ("tile", "4x4"))),
]
UNTRAINED = [Point(*shape, sparsity) for shape in SCHEMES for sparsity in SPARSITIES]
WAYS = [
    Point("bcr", "4x1", 0.7, "one-shot", "uniform"),
    Point("bcr", "4x1", 0.7, "one-shot", "global"),
    Point("bcr", "4x1", 0.7, "second-order", "uniform"),
]
# The same short training for every method.
METHODS = [Point("bcr", "4x1", 0.7, method, steps=100) for method in ("second-order", "gradual", "admm", "reweighted")]

POINTS: dict[str, list[Point]] = {
    "squad": [
        Point("bcr", "4x1", 0.7, steps=700, more_steps=1200, examples=None),
        *(Point("bcr", "4x1", sparsity, steps=450, examples=None) for sparsity in (0.5, 0.9)),
        Point("bcr", "4x1", 0.8, steps=450, more_steps=1200, examples=None),
        *METHODS,
        *UNTRAINED,
        *WAYS,
        *UNITS,
        *(Point("tile", block, 0.7, steps=100, numbers=n) for block in ("1x4", "4x4") for n in ("f32", "int8")),
        Point("bcr", "4x1", 0.7, steps=100, numbers="int8"),
    ],
    "sentiment": [
        *(dataclasses.replace(point, examples=None) for point in [*UNTRAINED, *WAYS]),
        *(Point("bcr", "4x1", sparsity, steps=400, learning_rate=1e-4, examples=None) for sparsity in SPARSITIES),
        *(dataclasses.replace(point, steps=400, learning_rate=1e-4, examples=None) for point in METHODS[1:]),
    ],
}
