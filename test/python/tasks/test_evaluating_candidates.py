"""The stages that candidates of a search go through, on a small task."""

import dataclasses
import pickle

import numpy as np
import pytest
import torch
from torch.nn import functional

from secateur.compression.latency import LatencyError
from secateur.compression.search.cut import Architecture
from secateur.compression.search.errors import SearchError
from secateur.compression.search.evaluation import ModelEvaluator, Recipe
from secateur.compression.search.evaluation.error import output_error
from secateur.compression.search.latency import LatencyPredictor
from secateur.frontends import load_model
from secateur.tasks import get_task
from secateur.tasks.predict import bundle_predict, load_tokenizer, torch_predict

SMALL = {"heads.*": 1, "ffn.*": 32, "rate.ffn_in": 0.5, "scheme.ffn_in": "bcr 4x1"}


@pytest.fixture
def evaluator(qa_folder, squad_path, tmp_path):
    recipe = Recipe(steps=4, batch=4)
    return ModelEvaluator(
        str(qa_folder),
        "squad",
        tmp_path,
        short=recipe,
        full=dataclasses.replace(recipe, steps=8),
        data=squad_path,
        window=48,
        samples=4,
        held_out=4,
        examples=3,
        records=tmp_path / "records",
    )


def test_the_dense_model_has_no_error_and_its_own_score(evaluator, qa_folder, squad_path):
    assert evaluator.evaluate({}, "error").figures == {"error": 0.0, "relative_error": 0.0}
    task = get_task("squad", squad_path)
    predict = torch_predict(load_model(qa_folder).module)
    expected = task.evaluate(predict, load_tokenizer(qa_folder), window=48, limit=3).metrics["f1"]
    assert evaluator.evaluate({}, "sample").figures == {"f1_sample": expected}


def test_the_error_is_the_divergence_of_both_logits():
    class Fixed(torch.nn.Module):
        def __init__(self, seed):
            super().__init__()
            self.bias = torch.nn.Parameter(torch.zeros(1))
            generator = torch.Generator().manual_seed(seed)
            names = ("start_logits", "end_logits")
            self.values = {name: torch.randn(3, 5, generator=generator) for name in names}

        def forward(self, **inputs):
            return self.values

    one, other = Fixed(0), Fixed(1)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]])
    found = output_error(other, one, [{"input_ids": mask, "attention_mask": mask}])
    divergences, squares, values = [], 0.0, []
    for name in ("start_logits", "end_logits"):
        for row in range(3):
            p, q = (m.values[name][row, : mask[row].sum()].double() for m in (one, other))
            log_p, log_q = functional.log_softmax(p, 0), functional.log_softmax(q, 0)
            divergences.append(float((log_p.exp() * (log_p - log_q)).sum()))
            squares += float((p - q).square().sum())
            values.append(p)
    values = torch.cat(values)
    assert found["error"] == pytest.approx(sum(divergences) / 6, rel=1e-5)
    assert found["relative_error"] == pytest.approx(squares / float((values - values.mean()).square().sum()), rel=1e-6)


def test_a_candidate_goes_through_all_stages(evaluator):
    evaluator = pickle.loads(pickle.dumps(evaluator))
    evaluator.measure_layers([SMALL, {}])
    figures = {}
    for stage in evaluator.stages:
        found = evaluator.evaluate(SMALL, stage.name)
        assert found.failure is None and found.seconds > 0
        assert stage.ranks is None or stage.ranks.figure in found.figures
        figures |= found.figures
    assert figures["error"] > 0 and figures["relative_error"] > 0
    assert figures["latency_ms"] > 0 and figures["measured_ms"] > 0 and figures["memory_bytes"] > 0
    module = load_model(evaluator.trained(SMALL)).module
    assert Architecture.of(module) == Architecture((0,), (1,), (32,))
    weight = module.bert.encoder.layer[0].intermediate.dense.weight
    assert int((weight == 0).sum()) == weight.numel() // 2
    inherited = evaluator.prepare().build(SMALL).bert.encoder.layer[0].intermediate.dense.weight
    assert torch.equal(weight == 0, inherited == 0) and not torch.equal(weight, inherited)
    kept = {n: p.numel() if p.dim() == 1 or "emb" in n else int((p != 0).sum()) for n, p in module.named_parameters()}
    assert figures["weight_bytes"] == 4 * sum(kept.values())
    assert figures["bundle_bytes"] > figures["weight_bytes"]
    # The trained model is what was compiled.
    bundle = bundle_predict(evaluator.bundle(SMALL))
    inputs = {name: array[:1] for name, array in evaluator.prepare().held_out[0].items()}
    with torch.no_grad():
        expected = module(**{name: torch.as_tensor(array) for name, array in inputs.items()})
    np.testing.assert_allclose(bundle(inputs)["start_logits"], expected.start_logits.numpy(), atol=1e-3)
    # A second time the folder of the training answers.
    again = evaluator.evaluate(SMALL, "full")
    assert again.figures["f1"] == figures["f1"]


def test_rounded_weights_are_judged(evaluator):
    plain = evaluator.evaluate(SMALL, "error").figures["error"]
    rounded = evaluator.evaluate({**SMALL, "numbers": "int8"}, "error").figures["error"]
    assert rounded != plain and rounded == pytest.approx(plain, rel=0.2)


def test_what_cannot_be_is_a_failure_and_an_unknown_stage_an_error(evaluator):
    found = evaluator.evaluate({"heads.0": 3}, "error")
    assert "layer 0 of the model has 2 heads, found 3" in found.failure and not found.figures
    with pytest.raises(SearchError, match="the stages are latency, error, sample, short, full, compiled, found"):
        evaluator.evaluate({}, "last")


def test_what_the_target_cannot_do_keeps_nothing_else_from_being_measured(evaluator, monkeypatch):
    measured = []

    def measure(self, kind, cells):
        if kind.numbers.arithmetic.name == "int8":
            raise LatencyError("no arithmetic in int8")
        measured.append((kind.numbers.storage.name, sorted({cell.size for cell in cells if cell.part == "attention"})))

    monkeypatch.setattr(LatencyPredictor, "_measure_kind", measure)
    bytes_ = {"numbers": "int8 x int8"}
    evaluator.measure_layers([bytes_, {"heads.*": 1}, {"numbers": "f16"}, {}, {**bytes_, "heads.*": 1}])
    assert measured == [("f32", [1, 2]), ("f16", [2])]
