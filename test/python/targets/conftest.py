"""A small pruned model, and a compile cache of the test session's own."""

import pytest
import torch

from secateur.compression.prune import parse_scheme, prune_model


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECATEUR_CACHE", str(folder))
        patch.setenv("SECATEUR_RECORDS", str(tmp_path_factory.mktemp("records")))
        yield folder


class TwoLayers(torch.nn.Module):
    """A table, which no target packs, and two linear layers, which each packs in its own way."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(50, 64)
        self.first = torch.nn.Linear(64, 96)
        self.second = torch.nn.Linear(96, 32)

    def forward(self, ids):
        return self.second(torch.relu(self.first(self.table(ids))))


@pytest.fixture(scope="session")
def model():
    torch.manual_seed(0)
    return prune_model(TwoLayers(), parse_scheme("bcr", "16x1"), 0.8)[0]


@pytest.fixture(scope="session")
def inputs():
    return {"ids": torch.randint(0, 50, (1, 32), generator=torch.Generator().manual_seed(1))}
