"""`secateur finetune` and `secateur prune` with data, on a small BERT and a small table of reviews."""

import dataclasses
import importlib
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizer

from secateur.dialects.number_formats import STORAGES

WORDS = ["a", "film", "the", "good", "bad", "great", "boring", "story", "cast", "is", "and", "plot", "with"]
SIZES = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
LAYER = "bert.encoder.layer.0.intermediate.dense.weight"
LENGTH = ["--steps", "6", "--batch", "8"]


@pytest.fixture(scope="module", autouse=True)
def caches(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECATEUR_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("teachers")))
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A bare encoder with a tokenizer."""
    folder = tmp_path_factory.mktemp("models") / "encoder"
    torch.manual_seed(0)
    model = BertModel(BertConfig(**SIZES, vocab_size=5 + len(WORDS), max_position_embeddings=128))
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    words = torch.randint(0, len(WORDS), (200, 6), generator=torch.Generator().manual_seed(0)).tolist()
    rows = [(i, 3 if i % 2 else -3, " ".join(["good" if i % 2 else "bad", *(WORDS[w] for w in row)]))
            for i, row in enumerate(words)]  # fmt: skip
    file = tmp_path_factory.mktemp("data") / "reviews.txt"
    file.write_text("\n".join("\t".join(map(str, row)) for row in rows))
    return file


@pytest.fixture
def tuned(secateur, encoder, reviews, tmp_path):
    out = tmp_path / "tuned"
    result = secateur("finetune", encoder, "--task", "sentiment", "--data", reviews, "-o", out, *LENGTH, "--json")
    assert result.code == 0, result.err
    return out, json.loads(result.out)


def test_finetune_adds_a_head_trains_and_scores(tuned, encoder, secateur, reviews):
    out, value = tuned
    assert value["steps"] == 6
    assert set(value["scores"]["metrics"]) == {"accuracy", "f1"}
    model = BertForSequenceClassification.from_pretrained(out)
    assert model.config.id2label == {0: "negative", 1: "positive"}
    dense = load_file(encoder / "model.safetensors")
    assert torch.equal(model.bert.embeddings.word_embeddings.weight, dense["embeddings.word_embeddings.weight"])
    assert not torch.equal(
        model.bert.encoder.layer[0].output.dense.weight, dense["encoder.layer.0.output.dense.weight"]
    )
    name = "encoder.layer.0.output.dense.weight"
    assert not torch.equal(model.bert.get_parameter(name), dense[name])
    # The command for scores says the same of the folder.
    scored = secateur("eval", out, "--task", "sentiment", "--data", reviews, "--json")
    assert json.loads(scored.out)["metrics"] == pytest.approx(value["scores"]["metrics"])


@pytest.mark.parametrize("method", ["one-shot", "second-order", "admm", "gradual"])
def test_prune_and_train(method, tuned, secateur, reviews, tmp_path):
    base = ["prune", tuned[0], "--data", f"sentiment={reviews}", "--block", "4x4", "--sparsity", "0.5"]
    out = tmp_path / method
    result = secateur(*base, "--method", method, "--distill", "--rates", "global", "-o", out, *LENGTH, "--json")
    assert result.code == 0, result.err
    value = json.loads(result.out)
    assert value["method"]["method"] == method
    layers = value["layers"]
    weights = sum(layer["shape"][0] * layer["shape"][1] for layer in layers)
    zeros = sum(layer["shape"][0] * layer["shape"][1] * layer["sparsity_fraction"] for layer in layers)
    assert zeros / weights == pytest.approx(0.5, abs=0.03)
    assert len(layers) == 6
    assert len({round(layer["sparsity_fraction"], 2) for layer in layers}) > 1
    rates = value["notes"]["rates"]
    assert set(rates) == {layer["name"] for layer in layers}
    again = secateur(*base, "--method", method, "--distill", "--rates", "global", "-o", out, *LENGTH, "--json")
    assert json.loads(again.out) == value, again.err


def test_what_was_pruned_before_training_is_not_pruned_again(tuned, secateur, reviews, tmp_path, monkeypatch):
    from secateur.compression.train import TrainError, run

    out = tmp_path / "out"
    base = ["prune", tuned[0], "--data", f"sentiment={reviews}", "--sparsity", "0.5", "--rates", "uniform"]
    base += ["-o", out, *LENGTH]

    def stop(*arguments):
        raise TrainError("stopped here")

    with monkeypatch.context() as patch:
        patch.setattr(run, "_run", stop)
        assert "stopped here" in secateur(*base).err
    import secateur.compression.prune.second_order as second_order

    monkeypatch.setattr(second_order, "prune_second_order", stop)
    result = secateur(*base, "--quiet")
    assert result.code == 0, result.err
    assert float((load_file(out / "model.safetensors")[LAYER] == 0).float().mean()) == pytest.approx(0.5, abs=0.03)
    assert sorted(p.name for p in out.iterdir() if p.is_dir()) == []
    # The whole command again: the result is there.
    assert secateur(*base, "--quiet").code == 0
    refused = secateur(*base, "--seed", "1", "--quiet")
    assert refused.code == 1 and "holds another training" in refused.err


def test_pruned_model_keeps_its_zeros_when_finetuned(tuned, secateur, reviews, tmp_path):
    pruned, out = tmp_path / "pruned", tmp_path / "out"
    assert secateur("prune", tuned[0], "--sparsity", "0.75", "--block", "4x4", "-o", pruned, "--quiet").code == 0
    base = ["finetune", pruned, "--task", "sentiment", "--data", reviews, "-o", out, *LENGTH, "--quiet"]
    result = secateur(*base, "--teacher", tuned[0])
    assert result.code == 0, result.err
    before, after = load_file(pruned / "model.safetensors")[LAYER], load_file(out / "model.safetensors")[LAYER]
    assert torch.equal(before == 0, after == 0)
    assert not torch.equal(before, after)


def test_second_order_on_lines_of_text(encoder, secateur, tmp_path):
    text = tmp_path / "lines.txt"
    text.write_text("a good film\nthe plot is boring\n\nbad story and a great cast\n")
    out = tmp_path / "out"
    uniform = ["--sparsity", "0.5", "--rates", "uniform"]
    result = secateur("prune", encoder, "--data", text, *uniform, "--block", "4x4", "-o", out, "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["method"] == "second-order"
    pruned = load_file(out / "model.safetensors")
    assert pruned.keys() == load_file(encoder / "model.safetensors").keys()
    assert float((pruned[LAYER.removeprefix("bert.")] == 0).float().mean()) == pytest.approx(0.5, abs=0.03)


def test_what_stays_is_rounded_and_zeros_are_kept(encoder, secateur, tmp_path):
    text, int8 = tmp_path / "lines.txt", STORAGES["int8"]
    text.write_text("a good film\nthe plot is boring\n\nbad story and a great cast\n")
    base = ["--data", text, "--weights", "int8", "--json"]
    pruned, again = tmp_path / "pruned", tmp_path / "again"
    found = secateur("prune", encoder, *base, "--sparsity", "0.5", "--rates", "uniform", "-o", pruned)
    assert found.code == 0, found.err
    name = LAYER.removeprefix("bert.")
    weight = load_file(pruned / "model.safetensors")[name]
    assert float((weight == 0).float().mean()) == pytest.approx(0.5, abs=0.03)
    # Storing it loses nothing more.
    read = int8.read_rows(*int8.store_rows(weight.numpy()))
    assert abs(read - weight.numpy()).max() < 1e-6 * abs(read).max()
    # Without a sparsity nothing else goes; what is rounded already stays.
    found = secateur("prune", pruned, *base, "-o", again)
    assert found.code == 0, found.err
    assert json.loads(found.out)["scheme"] == "zeros kept"
    torch.testing.assert_close(load_file(again / "model.safetensors")[name], weight, rtol=1e-6, atol=0)
    for more, text in (
        (["--sparsity", "0.5", "--method", "one-shot"], "rounded by --method second-order"),
        (["--sparsity", "0.5", "--steps", "2"], "a training moves what was rounded"),
        (["--rates", "loss"], "needs a fraction"),
    ):
        refused = secateur("prune", encoder, *base, *more, "-o", tmp_path / "none")
        assert refused.code == 2 and text in refused.err, refused.err
    refused = secateur("prune", encoder, "--sparsity", "0.5", "--arithmetic", "int8", "-o", tmp_path / "none")
    assert refused.code == 2 and "goes with --target" in refused.err
    assert not (tmp_path / "none").exists()


def test_rates_by_loss_reach_the_sparsity(tuned, secateur, reviews, tmp_path):
    arguments = ["--data", f"sentiment={reviews}", "--scheme", "unstructured"]
    result = secateur("prune", tuned[0], *arguments, "--sparsity", "0.6", "-o", tmp_path / "out", "--json")
    assert result.code == 0, result.err
    value = json.loads(result.out)
    assert value["sparsity_fraction"] == pytest.approx(0.6, abs=0.02)
    assert len({round(layer["sparsity_fraction"], 2) for layer in value["layers"]}) > 1


def test_weights_are_laid_over_the_folder(tuned, encoder, secateur, reviews, tmp_path):
    state = load_file(tuned[0] / "model.safetensors")
    save_file({name: value.half() for name, value in state.items() if "embeddings" not in name}, tmp_path / "delta")
    base = ["prune", encoder, "--data", f"sentiment={reviews}", "--method", "one-shot", "--sparsity", "0"]
    out = tmp_path / "out"
    assert secateur(*base, "--overlay", tmp_path / "delta", "-o", out, "--quiet").code == 0
    assert torch.equal(load_file(out / "model.safetensors")[LAYER], state[LAYER].half().float())
    save_file({LAYER: torch.ones(2, 2)}, tmp_path / "small")
    refused = secateur(*base, "--overlay", tmp_path / "small", "-o", tmp_path / "other")
    assert "has shape [2, 2], expected [64, 32]" in refused.err
    assert not (tmp_path / "other").exists()


def test_errors_are_sentences(encoder, secateur, reviews, tmp_path):
    labelled = BertForSequenceClassification(
        BertConfig(**SIZES, vocab_size=5 + len(WORDS), max_position_embeddings=128, num_labels=3)
    )
    labelled.save_pretrained(tmp_path / "three")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "three" / file).write_bytes((encoder / file).read_bytes())
    out = ["-o", tmp_path / "out"]
    task = ["--task", "sentiment", "--data", reviews]
    refused = secateur("finetune", tmp_path / "three", *task, *out)
    assert refused.code == 1 and "labels" in refused.err
    refused = secateur("finetune", encoder, *task, *out, "--steps", "2", "--epochs", "1")
    assert refused.code == 2 and "one of --epochs and --steps" in refused.err
    refused = secateur("finetune", encoder, "--task", "squat", *out)
    assert refused.code == 2 and "no task 'squat'" in refused.err
    prune = ["prune", encoder, *out, "--sparsity", "0.5"]
    assert "method one-shot learns from a teacher when it trains" in secateur(*prune, "--distill").err
    assert "found 'fast'; accepted are durations" in secateur(*prune, "--target-latency", "fast").err
    assert "goes with --target" in secateur(*prune, "--blocks", "4x1,16x1").err
    assert "goes with --target" in secateur(*prune, "--clock", "2").err
    fixed = ["prune", encoder, *out, "--method", "fixed", "--data", f"sentiment={reviews}"]
    for more in (("--sparsity", "0.9"), ("--block", "4x1"), ("--target-latency", "9ms"), ("--target", "host-cpu")):
        refused = secateur(*fixed, *more)
        assert refused.code == 2 and "keeps the zeros that MODEL has" in refused.err
    assert "a training needs a task" in secateur(*prune, "--data", reviews, "--steps", "2").err
    assert not (tmp_path / "out").exists()


def test_a_latency_is_met_by_rates_that_lose_least_on_the_data(encoder, monkeypatch, tmp_path):
    """What `plan` is asked for: losses on the inputs where there are some, else what it does by itself."""
    from secateur.commands.output import Output
    from secateur.commands.training_options import TrainingBar
    from secateur.compression.jobs.choice import choose
    from secateur.compression.jobs.options import Pruning
    from secateur.compression.prune import Scheme
    from secateur.frontends import load_model
    from secateur.tasks import load_tokenizer

    text = tmp_path / "lines.txt"
    text.write_text("a good film\nthe plot is boring\nbad story and a great cast\n")
    asked = dict.fromkeys(field.name for field in dataclasses.fields(Pruning))
    asked |= {
        "model": str(encoder),
        "method": "second-order",
        "scheme": "bcr",
        "block": "4x4",
        "target": "host-cpu",
        "arithmetic": "f32",
    }
    asked |= {"budget_ms": 5.0, "rates": "uniform", "samples": 3, "seed": 0}
    given = []
    planning = importlib.import_module("secateur.compression.latency.plan")
    monkeypatch.setattr(planning, "plan", lambda *a, **more: given.append(more) or 1 / 0)
    bar = TrainingBar(Output(False, True), "pruning", True)
    for data in (str(text), None):
        with pytest.raises(ZeroDivisionError):
            choose(Pruning(**{**asked, "data": data}), load_model(encoder).module, load_tokenizer(encoder), None, bar)
    loss = given[0]["importance"](Scheme("bcr", (4, 1)))
    name = LAYER.removeprefix("bert.").removesuffix(".weight")
    assert 0 == loss(name, 0.0) < loss(name, 0.5) < loss(name, 0.9)
    assert given[1]["importance"] is None
