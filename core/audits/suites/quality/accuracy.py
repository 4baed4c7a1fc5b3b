"""Task accuracy: which choice a model finds likeliest, or whether what it writes is right.

Likelihoods are asked as lm-eval asks them: the question, then each choice after one blank, encoded together. Its three
accuracies differ in what a choice's log likelihood is divided by: nothing, its characters, its bytes.
"""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from core.audits.asking import Answer, Item, Score, Write
from core.audits.suite import Control, Files, Options, Suite
from core.audits.suites import scoring
from core.audits.suites.packs import DATA
from core.audits.suites.quality import choosing, figures, questions, responders
from core.audits.suites.quality.questions import Question
from core.audits.suites.records import Place
from core.audits.suites.scoring import Expected, Scorer
from core.measures import agreement
from core.measures.rows import Row

SLOT = "{question}"


class AccuracyOptions(Options):
    """`mode`: auto asks for likelihoods where a line has choices. `prompt`: {question} stands for the line's.
    `scorer`: of written answers; questions with choices are read by letter or words ("choice")."""

    mode: Literal["auto", "likelihood", "write"] = "auto"
    prompt: str = Field(SLOT, max_length=20_000)
    delimiter: str = Field(" ", max_length=20)
    scorer: Literal["exact", "normalised", "contains", "regex", "number"] = "normalised"
    max_tokens: int = Field(64, ge=1, le=4096)
    stop: tuple[str, ...] = Field((), max_length=4)

    @model_validator(mode="after")
    def _has_slot(self) -> "AccuracyOptions":
        if SLOT not in self.prompt:
            raise ValueError("prompt must have {question} where the question goes")
        return self


def items(files: Files, options: AccuracyOptions) -> Iterator[Item]:
    for place, one in questions.of(files):
        likelihood = options.mode == "likelihood" or (options.mode == "auto" and one.choices)
        make = _scored if likelihood else _written
        yield make(place, one, options)


def _scored(place: Place, one: Question, options: AccuracyOptions) -> Item:
    gold = questions.gold(place, one)
    return Item(
        id=one.named(place),
        ask=Score(
            options.prompt.replace(SLOT, one.question),
            tuple(options.delimiter + choice for choice in one.choices),
        ),
        cluster=one.cluster or one.named(place),
        groups=one.dimensions(),
        data={"choices": list(one.choices), "gold": gold},
    )


def _written(place: Place, one: Question, options: AccuracyOptions) -> Item:
    expected = _expected(place, one, options.scorer)
    text = options.prompt.replace(SLOT, one.question)
    if expected.scorer == "choice":
        text += f"\n{scoring.lettered(one.choices)}\nAnswer with the letter alone.\nAnswer:"
    return Item(
        id=one.named(place),
        ask=Write(text, options.max_tokens, options.stop),
        cluster=one.cluster or one.named(place),
        groups=one.dimensions(),
        data={
            "scorer": expected.scorer, "accepted": list(expected.accepted), "gold": expected.gold,
            "example": _example(place, one, expected),
        },
    )  # fmt: skip


def _expected(place: Place, one: Question, scorer: Scorer) -> Expected:
    if one.choices:
        return Expected("choice", one.choices, questions.gold(place, one))
    return scoring.checked(place, Expected(scorer, questions.accepted(place, one)), "answer")


def _example(place: Place, one: Question, expected: Expected) -> str:
    """A right answer: what the control that is always right says. A pattern needs one that is given."""
    example = one.example or scoring.example(expected)
    if not example:
        raise place.wrong("example", "is missing; a pattern needs an answer that it is to match")
    if scoring.right(example, expected) is not True:
        raise place.wrong("example", f"{example[:60]!r} is not right by the line's own answer")
    return example


def score(item: Item, answer: Answer) -> Row:
    counts = (
        _of_likelihoods(item, answer) if isinstance(item.ask, Score) else _of_text(item, answer)
    )
    return Row(item.id, item.cluster, valid=bool(counts), counts=counts, groups=item.groups)


def _of_likelihoods(item: Item, answer: Answer) -> dict[str, float]:
    choices, gold = item.data["choices"], item.data["gold"]
    given = choosing.readable(answer, len(choices))
    if given is None:
        return {}
    by_characters = choosing.likeliest_by(given, [len(one) for one in choices])
    by_bytes = choosing.likeliest_by(given, [len(one.encode()) for one in choices])
    return agreement.counts(correct=choosing.likeliest(given) == gold) | {
        "choice_items": 1.0,
        "norm_correct": float(by_characters == gold),
        "bytes_correct": float(by_bytes == gold),
    }


def _of_text(item: Item, answer: Answer) -> dict[str, float]:
    if not answer.texts:
        return {}
    right = scoring.right(answer.texts[0], scoring.expected(item.data))
    return {} if right is None else agreement.counts(correct=right)


def controls(items: list[Item]) -> tuple[Control, ...]:
    return responders.of(items, by_likelihood=(figures.NORM.name, figures.BYTES.name))


ACCURACY = Suite(
    name="accuracy",
    version="1",
    family="quality",
    title="Task accuracy",
    about="Questions with right answers: multiple choice by likelihood, or written answers held against what is right.",
    source="lm-eval 0.4.13 for likelihoods; SQuAD's normalisation for written answers",
    licence="own pack: this project's; a file of yours: yours",
    metrics=(agreement.ACCURACY, figures.NORM, figures.BYTES),
    items=items,
    score=score,
    controls=controls,
    limits=(
        "A right answer by likelihood does not show that the model would write it.",
        "Questions that the model was trained on are answered from memory.",
        "The own pack is short and easy: it tells a broken model from a sound one, not two sound ones from each other.",
    ),
    needs={DATA: False},
    group_by=("category",),
    options=AccuracyOptions,
)
