"""The compile cache and records of the test session are its own."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def folders(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECATEUR_RECORDS", str(tmp_path_factory.mktemp("records")))
        # Lavapipe compiles its shaders in half the time; they run once or twice.
        patch.setenv("GALLIVM_PERF", "nopt")
        yield
