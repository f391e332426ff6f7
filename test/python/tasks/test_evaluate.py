"""Scores: a model that knows the answers, PyTorch beside the bundle, and what does not fit a task."""

import json

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel

from secateur.commands import main
from secateur.compiler.build.compiled_model import CompiledModel
from secateur.frontends import load_model
from secateur.tasks import TaskError, get_task, torch_predict
from secateur.tasks.squad_scores import squad_scores

from .conftest import CONTEXTS, QUESTIONS, SIZES


def knowing(tokenizer, longest=64):
    """Logits of a model that knows where the first reference begins and ends, in each window that it is in."""
    wanted = {
        tuple(tokenizer(question, add_special_tokens=False)["input_ids"]): tokenizer(
            answers[0], add_special_tokens=False
        )["input_ids"]
        for _, _, question, answers in QUESTIONS
    }
    shapes = []

    def predict(arrays):
        ids, types = arrays["input_ids"], arrays["token_type_ids"]
        shapes.append(ids.shape)
        assert ids.shape[1] <= longest
        start, end = np.zeros(ids.shape, np.float32), np.zeros(ids.shape, np.float32)
        # The specials and the question score highest: they must not be looked at.
        start[types == 0] = end[types == 0] = 100.0
        for row, line in enumerate(ids.tolist()):
            separator = line.index(tokenizer.sep_token_id)
            answer = wanted[tuple(line[1:separator])]
            for place in range(separator + 1, len(line) - len(answer) + 1):
                if line[place : place + len(answer)] == answer:
                    start[row, place] = end[row, place + len(answer) - 1] = 10.0
        return {"start_logits": start, "end_logits": end}

    return predict, shapes


@pytest.mark.parametrize("window", [24, 64])
def test_a_model_that_knows_the_answers_scores_100(squad_path, tokenizer, window):
    predict, shapes = knowing(tokenizer, window)
    told = []
    scores = get_task("squad", squad_path).evaluate(
        predict, tokenizer, window=window, stride=window // 2, batch=2, progress=lambda *p: told.append(p)
    )
    assert scores.predictions == {key: answers[0] for key, _, _, answers in QUESTIONS}
    assert scores.metrics == {"f1": 100.0, "exact_match": 100.0}
    assert scores.examples == 4
    assert scores.windows == sum(rows for rows, _ in shapes) > 4
    assert max(rows for rows, _ in shapes) == 2
    # Batches hold windows of like length, so that those of the short paragraph are not padded to the others'.
    assert [width for _, width in shapes] == sorted((width for _, width in shapes), reverse=True)
    assert shapes[-1][1] < window
    assert told[-1] == (scores.windows, scores.windows)
    assert 0 < scores.model_seconds <= scores.seconds
    assert scores.ms_per_window == pytest.approx(1e3 * scores.model_seconds / scores.windows)


def test_a_limit_scores_that_many_questions(squad_path, tokenizer):
    predict, _ = knowing(tokenizer)
    scores = get_task("squad", squad_path).evaluate(predict, tokenizer, window=64, limit=2)
    assert (scores.examples, set(scores.predictions)) == (2, {"q0", "q2"})
    assert scores.metrics["f1"] == 100.0


@pytest.fixture(scope="module")
def bundle(qa_folder):
    out = qa_folder.parent / "qa.bundle"
    command = ["compile", qa_folder, "-o", out, "--seq-len", "48", "--batch", "2", "--quiet"]
    assert main([str(a) for a in command]) == 0
    return out


def test_bundle_and_pytorch_give_the_same_answers(secateur, bundle, qa_folder, squad_path, tmp_path):
    values = []
    for model, more in ((qa_folder, ["--window", 48, "--batch", 3]), (bundle, [])):
        out = tmp_path / f"{model.name}.json"
        command = ["eval", model, "--task", "squad", "--data", squad_path, "--predictions", out, *more, "--json"]
        values.append(secateur(*command).json)
    of_torch, of_bundle = values
    assert (of_torch["runs"], of_bundle["runs"]) == ("PyTorch", "bundle")
    assert of_bundle["window"] == 48
    assert of_torch["windows"] == of_bundle["windows"] > 4
    assert of_torch["metrics"] == of_bundle["metrics"]
    answers = json.loads((tmp_path / "qa.bundle.json").read_text())
    assert answers == json.loads((tmp_path / "qa.json").read_text())
    assert of_bundle["metrics"] == squad_scores(answers, {key: answers_ for key, _, _, answers_ in QUESTIONS})
    assert all(answers[key] in CONTEXTS[of] for key, of, _, _ in QUESTIONS)


def test_the_table_and_a_zipped_bundle(secateur, bundle, squad_path, tmp_path):
    packed = tmp_path / "qa.zip"
    CompiledModel.open(bundle).save(packed)
    result = secateur("eval", packed, "--task", "squad", "--data", squad_path, "--limit", 2)
    assert result.code == 0, result.err
    for word in ("f1", "exact_match", "ms a window", "bundle, 1 thread(s), windows of 48 tokens"):
        assert word in result.out
    assert "of " in result.err and "windows" in result.err


def classifier(tmp_path, tokenizer, labels, name="classifier"):
    folder = tmp_path / name
    torch.manual_seed(0)
    config = BertConfig(**SIZES, vocab_size=len(tokenizer), id2label=dict(enumerate(labels)))
    model = BertForSequenceClassification(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_sentiment_is_the_larger_logit(secateur, tmp_path, tokenizer, ratings_path):
    good = tokenizer.convert_tokens_to_ids("good")

    def predict(arrays):
        found = (arrays["input_ids"] == good).any(axis=1).astype(np.float32)
        return {"logits": np.stack([1 - found, found], axis=1)}

    task = get_task("sentiment", ratings_path)
    for split in ("train", "dev", "test"):
        scores = task.evaluate(predict, tokenizer, split=split)
        assert scores.metrics == {"accuracy": 100.0, "f1": 100.0}
        assert scores.examples == scores.windows == len(scores.predictions)
    folder = classifier(tmp_path, tokenizer, ["NEGATIVE", "POSITIVE"])
    result = secateur("eval", folder, "--task", "sentiment", "--data", ratings_path, "--split", "train", "--json")
    logits = torch_predict(load_model(folder).module)
    by_hand = task.evaluate(logits, tokenizer, split="train", batch=1)
    assert result.json["metrics"] == by_hand.metrics


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (["POSITIVE", "NEGATIVE"], "labels are 0 POSITIVE, 1 NEGATIVE; task 'sentiment' has 0 negative, 1 positive"),
        (["neg", "neutral", "pos"], "labels are 0 neg, 1 neutral, 2 pos; task 'sentiment' has"),
    ],
)
def test_labels_that_do_not_fit(secateur, tmp_path, tokenizer, ratings_path, labels, text):
    folder = classifier(tmp_path, tokenizer, labels)
    made = secateur("compile", folder, "-o", tmp_path / "bundle", "--seq-len", "16", "--quiet")
    assert made.code == 0, made.err
    for model in (folder, tmp_path / "bundle"):
        result = secateur("eval", model, "--task", "sentiment", "--data", ratings_path)
        assert result.code == 1
        assert text in result.err
        assert len(result.err.splitlines()) <= 2


def test_a_bundle_of_three_labels_does_not_fit(ratings_path, tokenizer):
    def predict(arrays):
        return {"logits": np.zeros((len(arrays["input_ids"]), 3), np.float32)}

    with pytest.raises(TaskError, match="the model has 3 labels"):
        get_task("sentiment", ratings_path).evaluate(predict, tokenizer)


def test_models_that_do_not_fit(secateur, tmp_path, tokenizer, qa_folder, squad_path, bundle):
    encoder = tmp_path / "encoder"
    BertModel(BertConfig(**SIZES, vocab_size=len(tokenizer))).save_pretrained(encoder)
    result = secateur("eval", encoder, "--task", "squad", "--data", squad_path, "--window", 32)
    assert "has no tokenizer; expected one of the files tokenizer.json" in result.err
    tokenizer.save_pretrained(encoder)
    result = secateur("eval", encoder, "--task", "squad", "--data", squad_path, "--window", 32)
    assert (result.code, "found last_hidden_state, pooler_output; expected a model" in result.err) == (1, True)
    result = secateur("eval", bundle, "--task", "squad", "--data", squad_path, "--window", 64)
    assert "the bundle takes 48 tokens or less, found windows of 64" in result.err
    result = secateur("eval", tmp_path / "nowhere", "--task", "squad")
    assert (result.code, "does not exist" in result.err) == (2, True)


def test_numbers_that_are_none(squad_path, tokenizer):
    def predict(arrays):
        nothing = np.full(arrays["input_ids"].shape, np.nan, np.float32)
        return {"start_logits": nothing, "end_logits": nothing}

    with pytest.raises(TaskError, match="'start_logits' holds NaN or infinity"):
        get_task("squad", squad_path).evaluate(predict, tokenizer, window=32)


def test_evaluation_in_the_midst_of_training_leaves_the_mode(qa_folder, squad_path, tokenizer):
    module = load_model(qa_folder).module.train()
    get_task("squad", squad_path).evaluate(torch_predict(module), tokenizer, window=48, limit=1)
    assert module.training
