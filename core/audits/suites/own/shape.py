"""The line of a suite of one's own: a question, what is expected, and how an answer is held against it."""

from typing import Annotated, Literal

from pydantic import Field

from core.audits.suites import scoring
from core.audits.suites.quality.questions import Name, Text
from core.audits.suites.records import Place, Shape
from core.audits.suites.scoring import Expected

Said = Annotated[str, Field(max_length=200_000)]


class Message(Shape):
    role: Literal["system", "developer", "user", "assistant"]
    content: Text


class Line(Shape):
    """One question. `prompt` or `messages`; `choices` and/or `expected`.

    `scorer`: "likelihood" (default where there are choices): the likeliest choice; "choice": the letter or words of one
    are written; exact, normalised (default without choices), contains, regex, number: of written text; "classifier":
    whether a classifier flags the answer in `category`, `expected` being "clean" (default) or "flagged".
    `example`, `counterexample`: an answer that is right, and one that is wrong, where none follows from `expected`.
    """

    prompt: Text | None = None
    messages: tuple[Message, ...] = Field((), max_length=256)
    choices: tuple[Text, ...] = Field((), max_length=len(scoring.LETTERS))
    expected: int | float | Text | tuple[Text, ...] | None = None
    scorer: (
        Literal[
            "likelihood",
            "choice",
            "exact",
            "normalised",
            "contains",
            "regex",
            "number",
            "classifier",
        ]
        | None
    ) = None
    case: bool = False
    category: Name = ""
    threshold: float | None = Field(None, ge=0, le=1)
    example: Said = ""
    counterexample: Said = ""
    id: Name = ""
    cluster: Name = ""
    groups: dict[Name, Name] = Field(default_factory=dict, max_length=16)
    max_tokens: int | None = Field(None, ge=1, le=4096)
    stop: tuple[Text, ...] = Field((), max_length=4)

    @property
    def how(self) -> str:
        return self.scorer or ("likelihood" if self.choices else "normalised")

    def named(self, place: Place) -> str:
        return self.id or str(place.line)


def asked(place: Place, line: Line) -> str:
    """The text of the question. Several messages are written one below the other with their roles, for an audit asks
    one text; a single user's is that text."""
    if (line.prompt is None) == (not line.messages):
        raise place.wrong("prompt", "is missing, or stands beside messages; give one of the two")
    if line.prompt is not None:
        return line.prompt
    if len(line.messages) == 1 and line.messages[0].role == "user":
        return line.messages[0].content
    if line.messages[-1].role == "assistant":
        raise place.wrong("messages", "end with the assistant's; end with what it is to answer")
    told = [f"{one.role.capitalize()}: {one.content}" for one in line.messages]
    return "\n\n".join([*told, "Assistant:"])


def gold(place: Place, line: Line) -> int:
    """The index of the right choice."""
    choices, expected = line.choices, line.expected
    if len(choices) < 2 or len(set(choices)) < len(choices):
        raise place.wrong("choices", "must be two or more that differ from each other")
    letters = scoring.LETTERS[: len(choices)]
    match expected:
        case int() if 0 <= expected < len(choices):
            return expected
        case str() if expected in choices:
            return choices.index(expected)
        case str() if expected in letters:
            return letters.index(expected)
    raise place.wrong(
        "expected", "is none of the choices; give the index, the letter or the text of one"
    )


def expected(place: Place, line: Line) -> Expected:
    """Of a written answer, checked against the line's own examples. Raises InvalidInput."""
    if line.how == "choice":
        return Expected("choice", line.choices, gold(place, line))
    scorer = line.scorer or "normalised"
    if scorer == "likelihood" or scorer == "classifier":
        raise AssertionError(f"{scorer} is of no written answer")
    match line.expected:
        case None | ():
            raise place.wrong("expected", "is missing; give the right answer, or choices")
        case tuple(several):
            texts = several
        case one:
            texts = (str(one),)
    wanted = Expected(scorer, texts, case=line.case)
    return scoring.checked(place, wanted, "expected")


def examples(place: Place, line: Line, wanted: Expected) -> tuple[str, str]:
    """An answer that is right and one that is wrong, each shown to be so by the line's own scorer."""
    good = line.example or scoring.example(wanted)
    bad = line.counterexample or scoring.wrong(wanted)
    if not good:
        raise place.wrong("example", "is missing; a regex needs an answer that it is to match")
    if scoring.right(good, wanted) is not True:
        raise place.wrong("example", f"{good[:60]!r} is not right by what this line expects")
    if scoring.right(bad, wanted) is not False:
        raise place.wrong("counterexample", f"{bad[:60]!r} is not wrong by what this line expects")
    return good, bad
