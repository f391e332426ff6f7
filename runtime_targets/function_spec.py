"""How the functions of a bundle's model are called: their inputs and outputs, and the state between calls."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=0)]


def _dtype(name: str) -> str:
    accepted = ("bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64")
    if name not in accepted:
        raise ValueError(f"'{name}' is no dtype; accepted: {', '.join(accepted)}")
    return name


class Part(BaseModel):
    """A part of a manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TensorSpec(Part):
    """An input or output: NumPy dtype name, the shape it was compiled for, and what each axis follows.

    `axes`: "batch" or "tokens" where the size follows the batch or the sequence length (a smaller size is accepted),
    None where it is fixed. `limit`: an integer input holds row numbers of a table of that many rows; others would
    be read from outside of it. `counts`: an input of one int32 that says how many tokens the others have, so that
    what they are padded with is not attended to; the run-time API fills it in. `labels`: of an output, the names of
    the classes that its last axis holds a number for (schema version 4; none where the model has none).
    """

    name: str
    shape: tuple[Count, ...]
    dtype: Annotated[str, AfterValidator(_dtype)]
    axes: tuple[Literal["batch", "tokens"] | None, ...]
    limit: Annotated[int, Field(ge=1)] | None = None
    counts: Literal["tokens"] | None = None
    labels: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _rank(self) -> "TensorSpec":
        if len(self.axes) != len(self.shape):
            raise ValueError(f"'{self.name}' has {len(self.shape)} dimensions but {len(self.axes)} axes")
        if self.labels and (not self.shape or self.shape[-1] != len(self.labels)):
            raise ValueError(f"'{self.name}' has {len(self.labels)} labels, and the shape {list(self.shape)}")
        return self


class Function(Part):
    """A function of the model: its inputs and outputs in order, and the form in which it returns (`as_returned`)."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    output_form: Annotated[str, Field(pattern=r"^(tensor|dict|tuple(:[0-9]+)?)$")]

    @model_validator(mode="after")
    def _names(self) -> "Function":
        for what, items in (("inputs", self.inputs), ("outputs", self.outputs)):
            if len({item.name for item in items}) != len(items):
                raise ValueError(f"two {what} have one name")
        if not self.outputs and not self.output_form.startswith("tuple"):
            raise ValueError(f"a function without outputs returns a tuple, found '{self.output_form}'")
        return self


NOTHING = Function(inputs=(), outputs=(), output_form="tuple:0")
"""How a function is called that takes and returns nothing."""


class StateSpec(Part):
    """A tensor that functions find as the last call left it: NumPy dtype name and shape."""

    shape: tuple[Count, ...]
    dtype: Annotated[str, AfterValidator(_dtype)]
