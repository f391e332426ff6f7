"""What the server's endpoints take and give: the source of its OpenAPI description."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from .answer import MOST_ANSWERS, Answers, Reading
from .model import QuestionModel

LONGEST_QUESTION = 500
_EXAMPLE = {
    "context": "Columbia came down in the Pacific Ocean. The aircraft carrier USS Hornet picked up the crew.",
    "question": "Which ship picked up the crew?",
    "n_best": 3,
    "compare": False,
}


class AnswerRequest(BaseModel):
    """A question about a text."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    context: Annotated[str, Field(description="The text. The server's limit is in /api/health.")]
    question: Annotated[str, Field(max_length=LONGEST_QUESTION, description="The question.")]
    n_best: Annotated[int, Field(ge=1, le=MOST_ANSWERS, description="Answers to give, best first.")] = 3
    compare: Annotated[bool, Field(description="Let the second model answer too, in turns with the first.")] = False


class AnswerItem(BaseModel):
    """A piece of the text that may be the answer. Positions count Unicode characters (code points)."""

    text: Annotated[str, Field(examples=["USS Hornet"])]
    start: Annotated[int, Field(examples=[66], description="Its first character in the text.")]
    end: Annotated[int, Field(examples=[76], description="The character after its last.")]
    score: Annotated[float, Field(examples=[13.3], description="Start logit + end logit.")]
    probability: Annotated[
        float,
        Field(ge=0, le=1, examples=[0.82], description="Softmax of the scores of the text's best candidates. That "
              "the text holds no answer is not modelled: SQuAD v1.1 has no such questions."),
    ]  # fmt: skip
    sentence: Annotated[str, Field(examples=["The aircraft carrier USS Hornet picked up the crew."])]
    sentence_start: Annotated[int, Field(examples=[41])]
    sentence_end: Annotated[int, Field(examples=[92])]


class ModelItem(BaseModel):
    """A model of the server."""

    name: Annotated[str, Field(examples=["my-pruned-bert"])]
    sparsity_fraction: Annotated[float, Field(ge=0, le=1, examples=[0.7], description="Zeros in its linear layers.")]
    window_tokens: Annotated[int, Field(examples=[128])]

    @classmethod
    def of(cls, model: QuestionModel) -> "ModelItem":
        """Describes a model."""
        return cls(name=model.name, sparsity_fraction=model.sparsity_fraction, window_tokens=model.tokens)


class ReadingItem(BaseModel):
    """What one model made of the text, and how long it took."""

    model: ModelItem
    answers: list[AnswerItem]
    windows: Annotated[int, Field(examples=[1], description="Pieces that the text was read in.")]
    ms_per_window: Annotated[float, Field(examples=[8.1], description="Median time of the model for a window.")]
    model_ms: Annotated[float, Field(examples=[8.1], description="Time of the model for all windows, added up.")]

    @classmethod
    def of(cls, model: QuestionModel, reading: Reading) -> "ReadingItem":
        """Describes a reading."""
        return cls(
            model=ModelItem.of(model),
            answers=[AnswerItem(**vars(answer)) for answer in reading.answers],
            windows=reading.windows,
            ms_per_window=reading.ms_per_window,
            model_ms=reading.model_ms,
        )


class AnswerResponse(ReadingItem):
    """The answers, best first."""

    total_ms: Annotated[float, Field(examples=[11.0], description="From the request to the answers, waiting included.")]
    compared: ReadingItem | None = None
    times_faster: Annotated[
        float | None, Field(examples=[None], description="How many times longer the second model took for a window.")
    ] = None

    @classmethod
    def of_answers(cls, model: QuestionModel, compared: QuestionModel | None, answers: Answers) -> "AnswerResponse":
        """Describes what a reader found."""
        other = ReadingItem.of(compared, answers.compared) if compared and answers.compared else None
        return cls(
            **vars(ReadingItem.of(model, answers)),
            total_ms=answers.total_ms,
            compared=other,
            times_faster=answers.times_faster,
        )


class Health(BaseModel):
    """The server's models, limits and load."""

    status: Annotated[str, Field(examples=["ok"])]
    model: ModelItem
    compared: ModelItem | None
    sessions: Annotated[int, Field(examples=[2], description="Windows that are read at a time.")]
    unfinished: Annotated[int, Field(examples=[0], description="Questions that are being answered or wait.")]
    capacity: Annotated[int, Field(examples=[32], description="Questions that may be unfinished; more get a 503.")]
    max_context_characters: Annotated[int, Field(examples=[200000])]
    max_question_characters: Annotated[int, Field(examples=[LONGEST_QUESTION])]
    time_limit_seconds: Annotated[float, Field(examples=[60.0])]


class Fault(BaseModel):
    """Why a request was refused, in a sentence."""

    detail: Annotated[str, Field(examples=["the question is empty"])]
