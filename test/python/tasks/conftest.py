"""A small question-answering folder with a tokenizer and a small SQuAD file."""

import json

import pytest
import torch
from transformers import BertConfig, BertForQuestionAnswering, BertTokenizer

WORDS = [
    "the",
    "a",
    "tower",
    "of",
    "paris",
    "is",
    "in",
    "france",
    "tall",
    "metres",
    "by",
    "built",
    "eiffel",
    "stands",
    "where",
    "what",
    "who",
    "how",
    "high",
    "was",
    "it",
    "made",
    "iron",
    "gustave",
    "company",
    "year",
    "three",
    "hundred",
    "thirty",
    "city",
    "good",
    "film",
    "bad",
    "boring",
    "great",
    "330",
    "?",
    ".",
    ",",
    "'",
    "-",
    "#",
    "##s",
    "##x",
]
SIZES = {
    "num_hidden_layers": 1,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECATEUR_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("SECATEUR_RECORDS", str(tmp_path_factory.mktemp("records")))
        yield


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    return BertTokenizer(str(folder / "vocab.txt"))


@pytest.fixture(scope="session")
def qa_folder(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("model") / "qa"
    torch.manual_seed(0)
    model = BertForQuestionAnswering(BertConfig(**SIZES, vocab_size=len(tokenizer)))
    # A fresh model's logits are so equal that rounding would choose between answers.
    torch.nn.init.normal_(model.qa_outputs.weight)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


CONTEXTS = (
    "A film by Gustave: the bad iron tower. It is boring.",
    "The Eiffel Tower stands in Paris, France. It is 330 metres tall. It was built by the company of Gustave Eiffel, "
    "and made of iron. The tower was built in three year: the city is Paris. " * 2,
)
QUESTIONS = (
    ("q0", 0, "Who made the film?", ("Gustave",)),
    ("q1", 0, "How is it?", ("boring",)),
    ("q2", 1, "How tall is the tower?", ("330 metres", "330")),
    ("q3", 1, "What is it made of?", ("iron",)),
)


@pytest.fixture(scope="session")
def squad_path(tmp_path_factory):
    """Four questions about two paragraphs; the answers are the first place where their text occurs."""
    paragraphs = []
    for number, context in enumerate(CONTEXTS):
        asked = [
            {
                "id": key,
                "question": question,
                "answers": [{"text": text, "answer_start": context.index(text)} for text in answers],
            }
            for key, of, question, answers in QUESTIONS
            if of == number
        ]
        paragraphs.append({"context": context, "qas": asked})
    path = tmp_path_factory.mktemp("squad") / "squad.json"
    path.write_text(json.dumps({"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]}))
    return path


@pytest.fixture(scope="session")
def ratings_path(tmp_path_factory):
    """Sixty rated sentences, the good ones with the word `good`; three more must be left out."""
    lines = [f"{i}\t{3 if i % 2 else -3}\ta {'good' if i % 2 else 'bad'} film {'the ' * (i // 2)}" for i in range(60)]
    lines += ["60\t0\ta film", "61\t2\tA  GOOD film", "62\t-2\ta good film"]
    path = tmp_path_factory.mktemp("ratings") / "ratings.txt"
    path.write_text("\r\n".join(lines))
    return path
