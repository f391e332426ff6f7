"""Checkpoints that were changed at random: each is loaded with finite weights, or refused in one sentence."""

import io
import json
import random
import shutil
import struct
import zipfile

import pytest
import safetensors.torch
import torch

from secateur.dialects.errors import SecateurError
from secateur.frontends import FrontendError, load_model

VALUES = [
    *(None, True, -1, 0, 1, 2, 3, 7, 2**31, 2**63, -(2**63), 10**30, 0.5, -1.5, 1e308, "", "x", "float32", "../x"),
    *([], [1], ["x"], [None], [[]], {}, {"x": 1}, {"0": "a"}, "nan", "\u0000", "\ud800"),
]  # fmt: skip


def places(value, path=()):
    """Where something stands in a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def changed_json(data, rng):
    """Another value, a missing or an added key, or bytes that are no JSON."""
    kind = rng.randrange(6)
    if kind == 5:
        return changed_bytes(data, rng)
    value = json.loads(data)
    path = rng.choice([p for p in places(value) if p])
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    if kind == 0 and isinstance(inner, dict):
        del inner[path[-1]]
    elif kind == 1 and isinstance(inner, dict):
        inner[rng.choice(["architectures", "quantization_config", "dtype", "auto_map", "x"])] = rng.choice(VALUES)
    else:
        inner[path[-1]] = rng.choice(VALUES)
    return json.dumps(value).encode()


def changed_bytes(data, rng):
    """Some bytes changed, cut off, put in or repeated."""
    data, place = bytearray(data), rng.randrange(len(data))
    kind = rng.randrange(4)
    if kind == 0:
        for _ in range(rng.choice([1, 4, 64])):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif kind == 1:
        del data[place:]
    elif kind == 2:
        data[place:place] = bytes(rng.randrange(256) for _ in range(rng.choice([1, 8, 1000])))
    else:
        data[place:place] = data[: rng.randrange(len(data))]
    return bytes(data)


def changed_safetensors(data, rng):
    """The header as JSON changed, its length too large or too small, or bytes anywhere."""
    (length,) = struct.unpack("<Q", data[:8])
    kind = rng.randrange(4)
    if kind == 0:
        return changed_bytes(data, rng)
    if kind == 1:
        return struct.pack("<Q", rng.choice([0, 1, length - 1, length + 1, len(data), 2**40, 2**64 - 1])) + data[8:]
    header = changed_json(data[8 : 8 + length], rng)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def changed_zip(data, rng):
    """A member that is changed, renamed, doubled or missing, with right sums; or bytes anywhere."""
    if not rng.randrange(3):
        return changed_bytes(data, rng)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        chosen, kind = rng.choice(old.namelist()), rng.randrange(4)
        if kind == 0 and rng.randrange(2):
            chosen = next(name for name in old.namelist() if name.endswith("data.pkl"))
        for name in old.namelist():
            content = old.read(name)
            if name != chosen:
                new.writestr(name, content)
            elif kind == 0 and content:
                new.writestr(name, changed_bytes(content, rng))
            elif kind == 1:
                new.writestr(f"{name}x", content)
            elif kind == 2:
                new.writestr(name, content[: len(content) // 2])
    return out.getvalue()


def nan_inside(data, rng):
    """A number of the last tensor that is none."""
    return data[:-4] + struct.pack("<f", rng.choice([float("nan"), float("inf")]))


CHANGES = {
    "safetensors": {"config.json": changed_json, "model.safetensors": changed_safetensors},
    "numbers": {"model.safetensors": nan_inside},
    "sharded": {"model.safetensors.index.json": changed_json},
    "torch": {"pytorch_model.bin": changed_zip},
    "legacy": {"pytorch_model.bin": changed_bytes},
}
COUNTS = {"safetensors": 160, "numbers": 6, "sharded": 40, "torch": 70, "legacy": 40}


@pytest.fixture
def originals(build, tmp_path_factory):
    """A folder for each kind of checkpoint."""
    made, root = build("BertForSequenceClassification"), tmp_path_factory.mktemp("originals")
    made.save_pretrained(root / "safetensors")
    made.save_pretrained(root / "numbers")
    made.save_pretrained(root / "sharded", max_shard_size="20KB")
    for kind in ("torch", "legacy"):
        made.save_pretrained(root / kind)
        state = safetensors.torch.load_file(root / kind / "model.safetensors")
        (root / kind / "model.safetensors").unlink()
        torch.save(state, root / kind / "pytorch_model.bin", _use_new_zipfile_serialization=kind == "torch")
    return root


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", CHANGES)
def test_a_damaged_checkpoint_is_loaded_or_refused_in_a_sentence(kind, originals, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    loaded = refused = 0
    for seed in range(COUNTS[kind]):
        rng = random.Random(f"{kind} {seed}")
        folder = tmp_path / str(seed)
        shutil.copytree(originals / kind, folder)
        name = rng.choice(sorted(CHANGES[kind]))
        (folder / name).write_bytes(CHANGES[kind][name]((folder / name).read_bytes(), rng))
        try:
            module = load_model(folder).module
        except SecateurError as error:
            refused += 1
            assert str(error) and "\n" not in str(error) and str(folder) in str(error), seed
        except Exception as error:
            pytest.fail(f"{kind}, seed {seed}, {name}: {type(error).__name__}: {error}")
        else:
            loaded += 1
            assert all(bool(torch.isfinite(p).all()) for p in module.parameters()), seed
        shutil.rmtree(folder)
    assert refused > loaded / 4, (loaded, refused)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"num_hidden_layers": 2**31}, "'num_hidden_layers' in '.*' is 2147483648; accepted are up to 10000"),
        ({"num_labels": 2**31}, "'num_labels' in '.*' is 2147483648; accepted are up to 1000000"),
        ({"vocab_size": 2**40}, r"describes a model of \d+ numbers, and the weights hold \d+"),
        ({"max_position_embeddings": 2**33}, r"describes a model of \d+ numbers, and the weights hold \d+"),
        ({"intermediate_size": 2**40}, r"describes a model of \d+ numbers, and the weights hold \d+"),
    ],
)
def test_sizes_that_no_checkpoint_has_take_no_memory_and_no_time(originals, change, sentence):
    path = originals / "safetensors" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(FrontendError, match=sentence):
        load_model(path.parent)
