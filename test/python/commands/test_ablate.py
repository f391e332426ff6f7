"""`secateur bench --ablate`: for a model, for a bundle, and where it cannot know the model."""


def test_table_as_json(secateur, bundle, pruned_folder, tmp_path, monkeypatch):
    from secateur.compiler.measure import ablate

    monkeypatch.setenv("SECATEUR_RECORDS", str(tmp_path))
    monkeypatch.setattr(ablate, "STAGES", (ablate.STAGES[0], *ablate.STAGES[-2:]))
    done = secateur("bench", bundle, "--model", pruned_folder, "--ablate", "--rounds", 3, "--json")
    assert done.code == 0, done.err
    assert "'+ tuning' did not run" in done.err
    stages = {stage["stage"]: stage for stage in done.json["stages"]}
    assert list(stages) == ["none", "+ tiling", "+ tuning"]
    # The bundle has 16 tokens; the flops of its 128 would be far more.
    kept = stages["none"]["kept_weights"]
    assert 2 * kept * 16 < stages["none"]["flops"] < 2 * kept * 128
    assert stages["+ tiling"]["loads"] < stages["none"]["loads"]
    assert stages["none"]["times_faster_than_first"] == 1
    assert stages["+ tiling"]["times_faster_than_pytorch"] > 0
    assert stages["+ tuning"]["latency"] is None


def test_table_of_a_model_folder(secateur, pruned_folder, tmp_path, monkeypatch):
    from secateur.compiler.measure import ablate

    monkeypatch.setenv("SECATEUR_RECORDS", str(tmp_path))
    monkeypatch.setattr(ablate, "STAGES", ablate.STAGES[-2:-1])
    done = secateur("bench", pruned_folder, "--ablate", "--seq-len", 24, "--rounds", 3)
    assert done.code == 0, done.err
    header, tiling, pytorch, *legend = done.out.splitlines()
    assert header.split()[:2] == ["stage", "padding"]
    assert tiling.startswith("+ tiling")
    assert pytorch.startswith("PyTorch, dense")
    assert pytorch.split()[-1] == "1.00"
    assert "3 interleaved runs, 1 thread(s), outputs verified" in legend[-1]


def test_a_bundle_alone_is_refused(secateur, bundle):
    done = secateur("bench", bundle, "--ablate")
    assert done.code == 2
    assert "--model" in done.err
