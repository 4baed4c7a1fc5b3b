"""Lines of questions with right answers: multiple choice or written, and the items made of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from core.audits.suite import Files
from core.audits.suites import packs, records, scoring
from core.audits.suites.packs import DATA
from core.audits.suites.records import Place, Shape

PACK = Path(__file__).parent / "packs" / "questions.jsonl"
LONGEST = 200_000
Text = Annotated[str, Field(min_length=1, max_length=LONGEST)]
Name = Annotated[str, Field(max_length=200)]


class Question(Shape):
    """`answer`: of choices the index (from 0), the letter or the text of the right one; of a written answer a text or
    several, of which one must be given. `cluster`: questions that share a template or a passage."""

    question: Text
    choices: tuple[Text, ...] = Field((), max_length=len(scoring.LETTERS))
    answer: int | Text | tuple[Text, ...]
    example: str = Field("", max_length=LONGEST)
    id: Name = ""
    category: Name = ""
    cluster: Name = ""
    groups: dict[Name, Name] = Field(default_factory=dict, max_length=16)

    def named(self, place: Place) -> str:
        return self.id or str(place.line)

    def dimensions(self) -> dict[str, str]:
        return self.groups | ({"category": self.category} if self.category else {})


def of(files: Files) -> Iterator[tuple[Place, Question]]:
    """Each line; ids are unique. Raises InvalidInput."""
    seen: set[str] = set()
    path = packs.given(files, (DATA,), {DATA: PACK})[DATA]
    for place, one in records.of_jsonl(DATA, path, Question):
        if one.named(place) in seen:
            raise place.wrong(
                "id", f"{one.named(place)!r} stands on a line before; give each its own"
            )
        seen.add(one.named(place))
        yield place, one


def gold(place: Place, question: Question) -> int:
    """The index of the right choice. Raises InvalidInput."""
    choices, answer = question.choices, question.answer
    if len(choices) < 2:
        raise place.wrong(
            "choices", "has fewer than two; give the choices, or ask for written answers"
        )
    if len(set(choices)) < len(choices):
        raise place.wrong("choices", "has the same choice twice; let each differ")
    if isinstance(answer, int):
        if not 0 <= answer < len(choices):
            raise place.wrong("answer", f"is {answer}; give an index from 0 to {len(choices) - 1}")
        return answer
    if isinstance(answer, str) and answer in choices:
        return choices.index(answer)
    letters = scoring.LETTERS[: len(choices)]
    if isinstance(answer, str) and answer in letters:
        return letters.index(answer)
    raise place.wrong(
        "answer", "is none of the choices; give the index, the letter or the text of one"
    )


def accepted(place: Place, question: Question) -> tuple[str, ...]:
    """The written answers that are right. Raises InvalidInput."""
    match question.answer:
        case int():
            if question.choices:
                return (question.choices[gold(place, question)],)
            return (str(question.answer),)
        case str():
            return (question.answer,)
        case several:
            if not several:
                raise place.wrong("answer", "is an empty list; give at least one right answer")
            return several
