"""Tables of made-up latencies, and records of the test's own."""

import pytest

from secateur.compression.latency.shapes import LayerShape, ModelLayers, Site
from secateur.compression.latency.table import Cell, LatencyTable


@pytest.fixture(autouse=True)
def records_folder(tmp_path, monkeypatch):
    folder = tmp_path / "records"
    monkeypatch.setenv("SECATEUR_RECORDS", str(folder))
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path / "cache"))
    return folder


def made_up_shape(rows=8, columns=8, parts=None):
    signature = {"name": "sparsity.linear", "rows": rows, "columns": columns, "batch": 1, "tokens": 4}
    signature |= {"operands": ["bias"], "attributes": {}}
    return LayerShape(signature, parts or (rows,), "", {"x": (1, 4, columns)}, "#sparsity.target<{}>")


def made_up_table(dense, costs, counts=None, unit="ms"):
    """`dense`: shape -> cost; `costs`: (shape, scheme) -> {sparsity: cost}."""
    cells = {
        (key, scheme, sparsity): Cell(cost, cost / dense[key], cost / dense[key])
        for (key, scheme), row in costs.items()
        for sparsity, cost in row.items()
    }
    shapes = {key: made_up_shape(rows=8 * (n + 1)) for n, key in enumerate(dense)}
    return LatencyTable("host-cpu", 1, unit, shapes, counts or dict.fromkeys(dense, 1), dense, cells)


def made_up_layers(table):
    sites = [Site((f"{key}.{n}",), key) for key, count in table.counts.items() for n in range(count)]
    return ModelLayers(dict(table.shapes), tuple(sites))


@pytest.fixture
def table_of():
    return made_up_table


@pytest.fixture
def layers_of():
    return made_up_layers
