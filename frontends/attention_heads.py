"""How many heads an attention module of transformers has, where its projections are smaller than the config says."""

from typing import Any

from .errors import FrontendError


def set_heads(attention: Any, features: int) -> None:
    """Tells a module whose projections have `features` outputs how many heads these are; their size is as before.

    Some classes of transformers reshape by what they remember of themselves, and not by the size of a tensor. Raises
    `FrontendError` where a head would be cut in two.
    """
    size = attention.attention_head_size
    if features % size or not features:
        raise FrontendError(
            f"a projection of {type(attention).__name__} has {features} rows; heads of {size} rows can be removed"
        )
    for name, value in (("num_attention_heads", features // size), ("n_heads", features // size),
                        ("all_head_size", features)):  # fmt: skip
        if hasattr(attention, name):
            setattr(attention, name, value)
