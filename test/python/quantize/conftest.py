"""A compile cache of the test session's own."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECATEUR_CACHE", str(folder))
        patch.setenv("SECATEUR_RECORDS", str(tmp_path_factory.mktemp("records")))
        yield folder
