"""Windows cover their text, answers come out where they are, training windows hold theirs."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.tasks import TaskError, get_task
from secateur.tasks.squad_data import TokenisedSquad, read_squad
from secateur.tasks.squad_spans import PairTemplate, Span, best_spans, merge_spans, to_characters, window_starts
from secateur.tasks.squad_training import SquadTraining
from secateur.tasks.token_cache import tokenise


@given(st.integers(0, 400), st.integers(1, 100), st.integers(1, 150))
def test_windows_cover_the_text_and_are_full(tokens, room, stride):
    starts = window_starts(tokens, room, stride)
    covered = {i for start in starts for i in range(start, min(start + room, tokens))}
    assert covered == set(range(tokens))
    assert starts == sorted(set(starts))
    assert starts[-1] == max(tokens - room, 0)
    assert all(later - earlier <= min(stride, room) for earlier, later in itertools.pairwise(starts))
    assert len(starts) == 1 + max(0, -((room - tokens) // min(stride, room)))


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 15), st.integers(1, 40), st.integers(0, 2**32))
def test_best_spans_are_those_of_a_search_over_all(tokens, longest, n_best, seed):
    numbers = np.random.default_rng(seed)
    starts, ends = numbers.integers(-3, 4, (2, tokens)).astype(np.float32)
    every = [
        (first, last, float(starts[first] + ends[last]))
        for first in range(tokens)
        for last in range(first, min(first + longest, tokens))
    ]
    expected = sorted(every, key=lambda span: (-span[2], span[0], span[1]))[:n_best]
    assert best_spans(starts, ends, n_best, longest) == expected


def test_no_text_has_no_span():
    assert best_spans(np.zeros(0, np.float32), np.zeros(0, np.float32)) == []


def test_characters_of_spans_are_those_of_the_text_and_repeats_merge(tokenizer):
    text = "Paris — Straße 330, Eiffel"
    tokens = tokenise(tokenizer, [text])
    where = {text[a:b]: i for i, (a, b) in enumerate(tokens["offsets"])}
    paris, number, comma = where["Paris"], where["330"], text.index(",")
    whole = to_characters([(paris, number, 1.5)], tokens["offsets"], 0, text, window=0)
    again = to_characters([(paris, number, 3.0)], tokens["offsets"], 0, text, window=1)
    # The third window begins at the number: its tokens are counted from there.
    part = to_characters([(0, 0, 2.0)], tokens["offsets"], number, text, window=2)
    assert merge_spans([*whole, *again, *part], 5) == [Span(3.0, 0, comma, 1), Span(2.0, comma - 3, comma, 2)]
    assert merge_spans([*whole, *again, *part]) == [Span(3.0, 0, comma, 1)]
    blank = np.array([[0, 2], [2, 7]])
    assert to_characters([(0, 0, 1.0)], blank, 0, "   word ") == []
    assert to_characters([(0, 1, 1.0)], blank, 0, "   word ") == [Span(1.0, 3, 7)]


def test_pairs_are_joined_as_the_tokenizer_joins_them(tokenizer):
    template = PairTemplate.of(tokenizer)
    pairs = [("how tall is it?", "the tower is 330 metres tall"), ("who?", "gustave eiffel, iron")]
    ids = [tuple(tokenise(tokenizer, [text])["ids"] for text in pair) for pair in pairs]
    expected = tokenizer(*map(list, zip(*pairs, strict=True)), padding=True, return_tensors="np")
    found = template.join(ids, window=64)
    assert set(found) == set(template.names) == {"input_ids", "attention_mask", "token_type_ids"}
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name])
        assert array.dtype == np.int64
    start = template.text_start(len(ids[0][0]), 64)
    np.testing.assert_array_equal(found["input_ids"][0, start : start + len(ids[0][1])], ids[0][1])


def test_a_template_of_a_tokenizer_that_is_no_bert(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {word: i for i, word in enumerate(("<s>", "<pad>", "</s>", "<unk>", "a", "b", "c"))}
    rust = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    rust.pre_tokenizer = pre_tokenizers.Whitespace()
    rust.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    rust.enable_truncation(4)
    rust.enable_padding(length=9)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=rust, pad_token="<pad>", model_input_names=["input_ids", "attention_mask"]
    )
    template = PairTemplate.of(fast)
    joined = template.join([(np.array([4, 5]), np.array([6, 6, 6])), (np.array([4]), np.array([6]))], window=16)
    assert joined["input_ids"].tolist() == [[0, 4, 5, 2, 2, 6, 6, 6, 2], [0, 4, 2, 2, 6, 2, 1, 1, 1]]
    assert set(joined) == {"input_ids", "attention_mask"}


def test_a_long_question_leaves_half_of_the_window_to_the_text(tokenizer):
    template = PairTemplate.of(tokenizer)
    question, text = np.full(500, 7), np.full(500, 8)
    room = template.room(len(question), 32)
    joined = template.join([(question, text[:room])], 32)["input_ids"]
    assert joined.shape == (1, 32)
    assert (joined == 8).sum() == room == 15
    with pytest.raises(TaskError, match="window of 5 tokens or more, found 4"):
        template.room(3, 4)


@pytest.mark.parametrize("window", [20, 40, 64])
def test_training_windows_hold_the_answer_and_change_with_the_epoch(squad_path, tokenizer, window):
    training = get_task("squad", squad_path).training_dataset(tokenizer, window=window, seed=3)
    again = get_task("squad", squad_path).training_dataset(tokenizer, window=window, seed=3)
    answers = [answers[0][0].lower() for answers in read_squad(squad_path).answers]
    seen = set()
    for epoch in range(40):
        training.set_epoch(epoch)
        for index, answer in enumerate(answers):
            item = training[index]
            inside = item["input_ids"][item["start_positions"] : item["end_positions"] + 1]
            assert tokenizer.decode(inside) == answer
            assert all(item[name].shape == (window,) for name in ("input_ids", "attention_mask", "token_type_ids"))
            if index == 2:
                seen.add(int(item["start_positions"]))
    # The order in which items are asked for plays no part.
    again.set_epoch(39)
    for index in reversed(range(len(answers))):
        assert all((again[index][name] == value).all() for name, value in training[index].items())
    context = len(tokenise(tokenizer, [read_squad(squad_path).contexts[1]])["ids"])
    assert len(seen) > 5 or window > context


@pytest.mark.parametrize(("first", "last"), [(0, 3), (40, 42), (97, 99)])
def test_windows_without_the_answer_have_none_of_its_tokens(first, last):
    tokens, one = 100, np.array([0], np.int32)
    squad = TokenisedSquad(
        context_ids=np.arange(1000, 1000 + tokens, dtype=np.int32),
        context_bounds=np.array([0, tokens]),
        context_offsets=np.zeros((tokens, 2), np.int32),
        question_ids=np.array([7, 7, 7], np.int32),
        question_bounds=np.array([0, 3]),
        context_of=one,
        answer_first=one + first,
        answer_last=one + last,
    )
    template = PairTemplate((2,), (3,), (3,), (0, 1), 0, ("input_ids",))
    room = template.room(3, 24)
    without = {0.0: 0, 0.5: 0, 1.0: 0}
    for fraction in without:
        training = SquadTraining(squad, one, template, 24, 0, fraction)
        for epoch in range(100):
            training.set_epoch(epoch)
            item = training[0]
            ids = item["input_ids"].numpy()
            text = ids[ids >= 1000] - 1000
            assert list(text) == list(range(text[0], text[0] + len(text)))
            assert len(text) == room
            start, end = int(item["start_positions"]), int(item["end_positions"])
            if start == end == 0:
                without[fraction] += 1
                assert not set(text) & set(range(first, last + 1))
            else:
                assert (ids[start] - 1000, ids[end] - 1000) == (first, last)
    assert without[0.0] == 0
    assert 30 < without[0.5] < 70
    assert without[1.0] == 100


def test_the_trainers_loader_tells_the_epoch(squad_path, tokenizer):
    from torch.utils.data import DataLoader

    accelerate = pytest.importorskip("accelerate")
    training = get_task("squad", squad_path).training_dataset(tokenizer, window=24)
    loader = accelerate.Accelerator(cpu=True).prepare(DataLoader(training, batch_size=2))
    epochs = []
    for epoch in (0, 1):
        loader.set_epoch(epoch)
        epochs.append([batch["start_positions"].tolist() for batch in loader])
    training.set_epoch(0)
    assert [int(training[i]["start_positions"]) for i in range(4)] == [*itertools.chain(*epochs[0])]
    assert epochs[0] != epochs[1]


def test_calibration_inputs_are_training_windows_drawn_by_the_seed(squad_path, tokenizer):
    task = get_task("squad", squad_path)
    one, two = (task.calibration_inputs(tokenizer, samples=3, window=24, seed=seed) for seed in (0, 0))
    assert [batch["input_ids"].shape for batch in one] == [(3, 24)]
    np.testing.assert_array_equal(one[0]["input_ids"], two[0]["input_ids"])
    other = task.calibration_inputs(tokenizer, samples=3, window=24, seed=1)
    assert not np.array_equal(one[0]["input_ids"], other[0]["input_ids"])
    assert set(one[0]) == {"input_ids", "attention_mask", "token_type_ids"}
