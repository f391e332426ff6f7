"""The benchmark of GPUs, on a small layer."""

import itertools

import pytest

from secateur.benchmarks import gpu, models
from secateur.runtime_targets.iree.lavapipe import lavapipe_driver


@pytest.mark.skipif(lavapipe_driver() is None, reason="there is no lavapipe; on Debian: mesa-vulkan-drivers")
def test_kernels_of_a_layer_are_timed_beside_stock_iree(monkeypatch, capsys):
    monkeypatch.setitem(gpu.LAYERS, "small", {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64})
    monkeypatch.setattr(models, "TOKENS", 32)
    assert gpu.main(["--layer", "small", "--turns", "1", "--sparsity", "0.5", "--kernels"]) == 0
    text = capsys.readouterr().out
    assert "50% 16x1" in text and "gpu_linear_96x32" in text and "gpu_attention_2x16" in text
    # The first table; the others, each below a head that ends in "ms", have the kernels of each.
    lines = itertools.takewhile(lambda line: line.split()[-1] != "ms", text.strip().splitlines()[1:])
    rows = {line.split("  ")[0]: line.split() for line in lines}
    assert {"50% 16x1", "dense", gpu.STOCK} <= set(rows)
    # Four layers, attention, two norms, and the way into panels and out of them.
    assert rows["50% 16x1"][2] == rows["dense"][1] == "9"


def test_modules_for_another_machine_stay_in_a_folder(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(gpu.LAYERS, "small", {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64})
    monkeypatch.setattr(models, "TOKENS", 32)
    arguments = ["--layer", "small", "--batch", "2", "--stock-target", "ampere", "--build", str(tmp_path / "built")]
    assert gpu.main(arguments) == 0
    for name in ("sparse", "dense", "stock"):
        assert (tmp_path / "built" / name / "model.vmfb").is_file()
        assert (tmp_path / "built" / name / "weights.irpa").is_file()
    # Nothing was timed.
    assert "ms" not in capsys.readouterr().out
