"""The suite of graded answers: one question a line of the file, one figure a grader."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from core.audits.asking import Answer, Item, Write
from core.audits.suite import Control, Files, Options, Suite
from core.audits.suites import packs, records
from core.audits.suites.graded.graders import Grader, StringCheck
from core.audits.suites.graded.templates import OUTPUT, filled, places
from core.audits.suites.packs import DATA
from core.audits.suites.records import Published
from core.measures.metric import Metric, share
from core.measures.rows import Row

NAME = "graded"
ALL = f"{NAME}.passed"


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    role: Literal["system", "user", "assistant"]
    content: str = Field(max_length=65536)

    @field_validator("content")
    @classmethod
    def _readable(cls, value: str) -> str:
        if OUTPUT in places(value):
            raise ValueError(f"{{{{{OUTPUT}}}}} is the answer, which a question cannot name")
        return value


class GradedOptions(Options):
    """`messages`: the question, the user's last; {{item.name}} stands for what the line has under that name."""

    messages: tuple[Message, ...] = Field(min_length=1, max_length=32)
    graders: tuple[Grader, ...] = Field(min_length=1, max_length=16)
    max_tokens: int = Field(512, ge=1, le=32768, strict=True)
    temperature: float = Field(0.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _whole(self) -> "GradedOptions":
        if self.messages[-1].role != "user":
            raise ValueError("messages: the last one must be the user's")
        names = [grader.name for grader in self.graders]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"graders: {twice} is there twice; each needs a name of its own")
        return self


def metric_of(grader: Grader) -> str:
    """The name of a grader's figure."""
    return f"{NAME}.{grader.name}"


class Line(Published):
    """What a template's {{item.name}} stands for; an eval's own lines have more beside it."""

    item: dict[str, Any] = Field(description='write a JSON object, {"item": {...}}')


def items(files: Files, options: GradedOptions) -> Iterator[Item]:
    """One of each line; `cluster` in it: items that belong together. Raises InvalidInput."""
    path = packs.given(files, (DATA,))[DATA]
    for place, line in records.of_jsonl(DATA, path, Line):
        item, name = line.item, str(place.line)
        try:
            said = [filled(message.content, item) for message in options.messages]
            for grader in options.graders:
                grader.texts(item, "")
        except KeyError as missing:
            raise place.wrong(
                str(missing.args[0]),
                "is missing, and the template names it",
                "give it, or change the template",
            ) from None
        roles = [message.role for message in options.messages]
        ask = Write(
            said[-1], options.max_tokens, temperature=options.temperature, top_p=options.top_p,
            before=tuple(zip(roles[:-1], said[:-1], strict=True)),
        )  # fmt: skip
        yield Item(name, ask, str(item.get("cluster", name)), data={"item": item})


def score(graders: tuple[Grader, ...], item: Item, answer: Answer) -> Row:
    if not answer.texts:
        return Row(item.id, item.cluster, valid=False)
    counts, whole = {"asked": 1.0}, True
    for grader in graders:
        found = grader.score(item.data["item"], answer.texts[0])
        passed = grader.passed(found)
        counts |= {f"score[{grader.name}]": found, f"passed[{grader.name}]": float(passed)}
        whole = whole and passed
    return Row(item.id, item.cluster, valid=True, counts=counts | {"passed": float(whole)})


def _unfitted(*_: Any) -> Row:
    raise AssertionError("a suite of graders is fitted to them before it scores")


def _metric(name: str, title: str, hits: str, definition: str) -> Metric:
    return Metric(
        name=name, title=title, definition=definition, source="OpenAI's API reference, Evals",
        value=share(hits, "asked"), better="higher", share=(hits, "asked"), low=0.0, high=1.0,
    )  # fmt: skip


def _controls(graders: tuple[Grader, ...], asked: list[Item]) -> tuple[Control, ...]:
    """Who gives no answer, and who gives the first grader's reference back."""
    names = (ALL, *(metric_of(grader) for grader in graders))
    silent = Control(
        name="unparsable", answer=lambda _: Answer(), expected=dict.fromkeys(names), valid_rate=0.0
    )
    first = graders[0]
    plain = first.input.strip("{} ") == OUTPUT and OUTPUT not in places(first.reference)
    if not (plain and isinstance(first, StringCheck) and asked):
        return (silent,)

    def knows(item: Item) -> Answer:
        return Answer((filled(first.reference, item.data["item"]),))

    right = float(first.operation != "ne")
    return silent, Control(name="reference", answer=knows, expected={metric_of(first): right})


def fitted(_: Files, options: GradedOptions) -> Suite:
    """The suite with the figures of these graders."""
    graders = options.graders
    each = (
        _metric(metric_of(g), g.name, f"passed[{g.name}]", f"{g.type}: passed / asked")
        for g in graders
    )
    whole = _metric(ALL, "Answers that pass every grader", "passed", "passed by all / asked")
    return replace(
        graded, metrics=(whole, *each), score=partial(score, graders), fitted=None,
        controls=partial(_controls, graders),
    )  # fmt: skip


graded = Suite(
    name=NAME, version="1", family="own", title="Graded answers",
    about="Questions from a template over the lines of a file; rules grade the answers.",
    source="OpenAI's API reference, Evals", licence="that of the uploaded file", metrics=(),
    items=items, score=_unfitted, controls=lambda _: (), needs={DATA: True},
    options=GradedOptions, fitted=fitted,
    limits=(
        "Rules compare letters and words. They see neither meaning nor tone, and a right answer in other words fails.",
        "The items are the uploader's own; nobody has checked that their references are right.",
    ),
)  # fmt: skip
GRADED = (graded,)
