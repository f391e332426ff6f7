"""A context per test, and the check that none stays alive."""

import gc
from collections.abc import Iterator

import pytest
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context


@pytest.fixture(scope="session")
def contexts_at_rest() -> int:
    """How many contexts live when no test holds one: loading a dialect keeps those it was last loaded into."""
    for _ in range(2):
        make_context()
        gc.collect()
    return ir.Context._get_live_count()


@pytest.fixture
def context(contexts_at_rest: int) -> Iterator[ir.Context]:
    """A context, entered, with an unknown location; afterwards no more contexts may live than before."""
    made = make_context()
    with made, ir.Location.unknown():
        yield made
    del made
    gc.collect()
    assert ir.Context._get_live_count() <= contexts_at_rest, "a context leaked"
