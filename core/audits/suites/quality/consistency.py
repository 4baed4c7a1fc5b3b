"""Does a model agree with itself: over several draws, and over several phrasings of one question.

At temperature 0 draws agree by construction: then a single one is asked, and only phrasings say anything.
"""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from core.audits.asking import Answer, Item, Write
from core.audits.suite import Control, Files, Options, Suite
from core.audits.suites import packs, records, scoring
from core.audits.suites.packs import DATA
from core.audits.suites.quality import agreeing
from core.audits.suites.quality.questions import Name, Text
from core.audits.suites.records import Shape
from core.measures import agreement
from core.measures.rows import Row

PACK = Path(__file__).parent / "packs" / "paraphrases.jsonl"
NAMES = tuple(metric.name for metric in (*agreement.CONSISTENCY, *agreeing.METRICS))


class Phrased(Shape):
    """One question, and other ways to put it."""

    question: Text
    paraphrases: tuple[Text, ...] = Field((), max_length=32)
    id: Name = ""
    category: Name = ""
    groups: dict[Name, Name] = Field(default_factory=dict, max_length=16)


class ConsistencyOptions(Options):
    """`draws` of each phrasing; one when nothing is drawn at random. `reading`: what makes two answers the same."""

    draws: int = Field(5, ge=1, le=64)
    temperature: float = Field(0.8, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(32, ge=1, le=4096)
    stop: tuple[str, ...] = Field(("\n",), max_length=4)
    reading: Literal["normalised", "exact", "number"] = "normalised"

    @model_validator(mode="after")
    def _draws_differ(self) -> "ConsistencyOptions":
        if self.temperature == 0 and self.draws > 1:
            raise ValueError(
                "draws do not differ at temperature 0; ask for draws: 1 and give paraphrases"
            )
        return self


def items(files: Files, options: ConsistencyOptions) -> Iterator[Item]:
    seen: set[str] = set()
    for place, one in records.of_jsonl(
        DATA, packs.given(files, (DATA,), {DATA: PACK})[DATA], Phrased
    ):
        name = one.id or str(place.line)
        if name in seen:
            raise place.wrong("id", f"{name!r} stands on a line before; give each its own")
        seen.add(name)
        phrasings = (one.question, *one.paraphrases)
        if len(set(phrasings)) < len(phrasings):
            raise place.wrong("paraphrases", "has the same text twice; let each differ")
        for number, text in enumerate(phrasings):
            yield Item(
                id=f"{name}/{number}",
                ask=Write(
                    text, options.max_tokens, options.stop, options.draws, options.temperature, options.top_p
                ),
                cluster=name,
                groups=one.groups | ({"category": one.category} if one.category else {}),
                data={"reading": options.reading},
            )  # fmt: skip


def score(item: Item, answer: Answer) -> Row:
    counts = _counts(item, answer)
    return Row(item.id, item.cluster, valid=bool(counts), counts=counts, groups=item.groups)


def _counts(item: Item, answer: Answer) -> dict[str, float]:
    assert isinstance(item.ask, Write)
    said = [_read(text, item.data["reading"]) for text in answer.texts]
    if len(said) != item.ask.n or not all(said):
        return {}
    # One draw agrees with itself and so says nothing of draws.
    drawn = agreement.consistency(said) if len(said) > 1 else {}
    return drawn | {agreeing.SAID: agreeing.number(Counter(said).most_common(1)[0][0])}


def _read(text: str, reading: str) -> str:
    """What two answers are compared by; "" where nothing can be read."""
    match reading:
        case "exact":
            return text.strip()
        case "number":
            found = scoring.last_number(text)
            return "" if found is None else repr(found)
        case _:
            return scoring.normalised(text)


def controls(items: list[Item]) -> tuple[Control, ...]:
    k = max((item.ask.n for item in items if isinstance(item.ask, Write)), default=1)
    several = [number for number in Counter(item.cluster for item in items).values() if number > 1]
    # Phrasings of which no two agree: the commonest answer is one of as many as there are.
    apart = (0.0, sum(1 / number for number in several) / len(several)) if several else None
    alike = (1.0, 1.0) if several else None
    half = (k + 1) // 2
    places = {item.id: place for place, item in enumerate(items)}
    return (
        Control(name="parrot", answer=lambda _: _says([7] * k), expected=_known([k], alike)),
        Control(
            name="never_twice",
            answer=lambda item: _says([places[item.id] * k + draw for draw in range(k)]),
            expected=_known([1] * k, apart),
        ),
        Control(
            name="two_minds",
            answer=lambda _: _says([7] * half + [8] * (k - half)),
            expected=_known([half, k - half], alike),
        ),
        Control(
            name="silent",
            answer=lambda _: Answer(texts=("",) * k),
            expected=dict.fromkeys(NAMES),
            valid_rate=0.0,
        ),
    )


def _known(parts: list[int], of_phrasings: tuple[float, float] | None) -> dict[str, float | None]:
    """Of draws that fall into classes of these sizes; pairwise and modal agreement of phrasings."""
    k = sum(parts)
    drawn: tuple[float | None, ...] = (None, None, None)
    if k > 1:
        drawn = (
            max(parts) / k,
            sum(n * (n - 1) for n in parts) / (k * (k - 1)),
            sum(n / k * math.log2(k / n) for n in parts if n),
        )
    return dict(zip(NAMES, (*drawn, *(of_phrasings or (None, None))), strict=True))


def _says(numbers: list[int]) -> Answer:
    """Numbers, which every reading tells apart."""
    return Answer(texts=tuple(f"It is {one}." for one in numbers), finish=("stop",) * len(numbers))


CONSISTENCY = Suite(
    name="consistency",
    version="1",
    family="quality",
    title="Self-consistency",
    about="How often a model gives the same answer: when asked again, and when asked in other words.",
    source="Wang et al. 2023 (modal share); pairwise agreement without bias: Simpson 1949",
    licence="own pack: this project's; a file of yours: yours",
    metrics=(*agreement.CONSISTENCY, *agreeing.METRICS),
    items=items,
    score=score,
    controls=controls,
    limits=(
        "A model may agree with itself and be wrong: read it beside accuracy.",
        "Answers are compared by their words; two ways to say the same count as two answers.",
        "The entropy of few draws is below that of many.",
    ),
    needs={DATA: False},
    group_by=("category",),
    options=ConsistencyOptions,
)
