"""A suite from an uploaded file: each line a question, what is expected, and how it is scored."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pydantic import Field, model_validator

from core.audits.asking import Answer, Item, Score, Write
from core.audits.suite import Control, Files, Options, Suite
from core.audits.suites import packs, records, scoring
from core.audits.suites.own import flagging, shape
from core.audits.suites.own.shape import Line
from core.audits.suites.packs import DATA
from core.audits.suites.quality import choosing, responders
from core.audits.suites.records import Place
from core.errors import InvalidInput
from core.measures.metric import Metric, share
from core.measures.rows import Row

RIGHT = Metric(
    name="own.right", title="Share of answers as expected",
    definition="Answers that are as their line expects, over those that could be read.",
    source="the uploaded file", value=share("correct", "items"), share=("correct", "items"),
    better="higher", low=0.0, high=1.0,
)  # fmt: skip


class OwnOptions(Options):
    """`max_tokens`: where a line has none. `classifier`: of lines that one scores; `classifier_digest` is filled in, so
    that what was found is bound to the very classifier that found it."""

    delimiter: str = Field(" ", max_length=20)
    max_tokens: int = Field(256, ge=1, le=4096)
    classifier: str = Field("", max_length=200)
    classifier_digest: str = Field("", max_length=64)

    @model_validator(mode="before")
    @classmethod
    def _bound(cls, given: Any) -> Any:
        name = given.get("classifier") if isinstance(given, dict) else None
        if not isinstance(name, str) or not name or given.get("classifier_digest"):
            return given
        try:
            return given | {"classifier_digest": flagging.digest(name)}
        except InvalidInput as error:
            raise ValueError(error.message) from None


def items(files: Files, options: OwnOptions) -> Iterator[Item]:
    seen: set[str] = set()
    for place, line in records.of_jsonl(DATA, packs.given(files, (DATA,))[DATA], Line):
        name = line.named(place)
        if name in seen:
            raise place.wrong("id", f"{name!r} stands on a line before; give each its own")
        seen.add(name)
        yield (
            _scored(place, line, options)
            if line.how == "likelihood"
            else _written(place, line, options)
        )


def _scored(place: Place, line: Line, options: OwnOptions) -> Item:
    text, gold = shape.asked(place, line), shape.gold(place, line)
    return Item(
        id=line.named(place),
        ask=Score(text, tuple(options.delimiter + choice for choice in line.choices)),
        cluster=line.cluster or line.named(place),
        groups=line.groups,
        data={"choices": list(line.choices), "gold": gold},
    )


def _written(place: Place, line: Line, options: OwnOptions) -> Item:
    text = shape.asked(place, line)
    if line.how == "classifier":
        data = flagging.kept(place, line, options.classifier, options.classifier_digest)
    else:
        wanted = shape.expected(place, line)
        good, bad = shape.examples(place, line, wanted)
        data = {
            "scorer": wanted.scorer, "accepted": list(wanted.accepted), "gold": wanted.gold,
            "case": wanted.case, "example": good, "counterexample": bad,
        }  # fmt: skip
    if line.how == "choice":
        text += f"\n{scoring.lettered(line.choices)}\nAnswer with the letter alone.\nAnswer:"
    return Item(
        id=line.named(place),
        ask=Write(text, line.max_tokens or options.max_tokens, line.stop),
        cluster=line.cluster or line.named(place),
        groups=line.groups,
        data=data,
    )


def score(item: Item, answer: Answer) -> Row:
    right = _right(item, answer)
    counts = {} if right is None else {"items": 1.0, "correct": float(right)}
    return Row(item.id, item.cluster, valid=right is not None, counts=counts, groups=item.groups)


def _right(item: Item, answer: Answer) -> bool | None:
    if isinstance(item.ask, Score):
        given = choosing.readable(answer, len(item.data["choices"]))
        return None if given is None else choosing.likeliest(given) == item.data["gold"]
    if not answer.texts:
        return None
    if item.data["scorer"] == "classifier":
        return flagging.right(answer.texts[0], item.data)
    return scoring.right(answer.texts[0], scoring.expected(item.data))


def controls(items: list[Item]) -> tuple[Control, ...]:
    places = {item.id: place for place, item in enumerate(items)}
    hits = sum(1 for place in places.values() if place % 3 == 0)
    return (
        Control(name="always_right", answer=_good, expected={RIGHT.name: 1.0}),
        Control(name="always_wrong", answer=_bad, expected={RIGHT.name: 0.0}),
        Control(
            name="every_third",
            answer=lambda item: _bad(item) if places[item.id] % 3 else _good(item),
            expected={RIGHT.name: hits / len(items)},
        ),
        Control(
            name="silent", answer=lambda _: Answer(), expected={RIGHT.name: None}, valid_rate=0.0
        ),
    )


def _good(item: Item) -> Answer:
    return responders.right(item)


def _bad(item: Item) -> Answer:
    if isinstance(item.ask, Score):
        return responders.wrong(item)
    return responders.said(item, item.data["counterexample"])


def fitted(files: Files, _: OwnOptions) -> Suite:
    """With the file's own dimensions."""
    found = records.of_jsonl(DATA, packs.given(files, (DATA,))[DATA], Line)
    return replace(
        OWN_FILE, group_by=tuple(sorted({name for _, line in found for name in line.groups}))
    )


OWN_FILE = Suite(
    name="own",
    version="1",
    family="own",
    title="A suite of your own",
    about="Questions of an uploaded file, each scored as its line says.",
    source="the uploaded file",
    licence="yours",
    metrics=(RIGHT,),
    items=items,
    score=score,
    controls=controls,
    limits=(
        "It shows what its questions ask and nothing else.",
        "Lines without a cluster count as independent: give those that share a template or a passage the same one.",
    ),
    needs={DATA: True},
    options=OwnOptions,
    fitted=fitted,
)
