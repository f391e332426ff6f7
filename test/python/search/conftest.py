import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def evaluators(monkeypatch):
    """The module `evaluators`, under a name that a process of its own can import."""
    monkeypatch.syspath_prepend(HERE)
    import evaluators

    yield evaluators
    for name in ("evaluators", "tables"):
        sys.modules.pop(name, None)
