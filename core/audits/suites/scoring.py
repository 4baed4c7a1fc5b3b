"""How a written answer is held against what was expected."""

import re
import string
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from core.audits.suites import patterns
from core.audits.suites.records import Place

Scorer = Literal["exact", "normalised", "contains", "regex", "number", "choice"]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NUMBER = re.compile(r"-?\d[\d,]{0,30}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,3})?")
_NEAR = 1e-9
LETTERS = string.ascii_uppercase
# A letter alone, or "(B)", "B.", "B:" at the start ("A dog" is no letter), or the last "answer is B".
_FIRST = re.compile(r"^\W{0,3}([A-Z])(?:[).:,\]]|$)")
_SAID = re.compile(r"\banswer(?: is)?:?\s{0,3}\(?([A-Z])\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Expected:
    """`accepted`: texts of which one must be given; of a regex the pattern, of a choice all choices in their order."""

    scorer: Scorer
    accepted: tuple[str, ...]
    gold: int = 0
    case: bool = False


def checked(place: Place, expected: Expected, field: str) -> Expected:
    """What a line expects, if answers can be held against it. Raises InvalidInput."""
    for one in expected.accepted:
        problem = _unusable(one, expected.scorer)
        if problem:
            raise place.wrong(field, f"{one[:60]!r} {problem}")
    return expected


def _unusable(one: str, scorer: Scorer) -> str:
    match scorer:
        case "regex":
            try:
                patterns.compiled(one)
            except ValueError as error:
                return str(error)
        case "number":
            return "" if number(one) is not None else "is no number; give one, or another scorer"
        case "normalised" | "contains":
            return "" if normalised(one) else "is nothing but punctuation and articles; use exact"
        case "exact":
            return "" if one.strip() else "is blank; give the text of the right answer"
        case "choice":
            pass
    return ""


def example(expected: Expected) -> str:
    """An answer that is right; "" of a pattern, which tells none."""
    match expected.scorer:
        case "regex":
            return ""
        case "choice":
            return LETTERS[expected.gold]
        case _:
            return expected.accepted[0]


def wrong(expected: Expected) -> str:
    """An answer that can be read and is wrong."""
    match expected.scorer:
        case "choice":
            return LETTERS[(expected.gold + 1) % len(expected.accepted)]
        case "number":
            return f"{1 + sum(abs(number(one) or 0.0) for one in expected.accepted):.6f}"
        case _:
            return ""


def expected(data: Mapping[str, Any]) -> Expected:
    """As an item keeps it."""
    return Expected(
        data["scorer"], tuple(data["accepted"]), data.get("gold", 0), data.get("case", False)
    )


def right(said: str, expected: Expected) -> bool | None:
    """Whether an answer is right; None where it cannot be read (no number in it, no choice)."""
    match expected.scorer:
        case "exact":
            return said.strip() in {one.strip() for one in expected.accepted}
        case "normalised":
            return normalised(said) in {normalised(one) for one in expected.accepted}
        case "contains":
            return any(_within(one, said, expected.case) for one in expected.accepted)
        case "regex":
            return any(
                patterns.searched(patterns.compiled(one), said) is not None
                for one in expected.accepted
            )
        case "number":
            given = last_number(said)
            return None if given is None else any(_same(given, one) for one in expected.accepted)
        case "choice":
            chosen = choice(said, expected.accepted)
            return None if chosen is None else chosen == expected.gold


def normalised(text: str) -> str:
    """As SQuAD's evaluation has it, after NFKC: lower case, without punctuation, articles and extra blanks."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    plain = "".join(c for c in plain if not unicodedata.category(c).startswith("P"))
    return " ".join(_ARTICLES.sub(" ", plain).split())


def last_number(text: str) -> float | None:
    """Of an answer that reasons first, the last number is the answer. Commas group thousands."""
    found = _NUMBER.findall(text[-patterns.LONGEST :])
    return number(found[-1]) if found else None


def number(text: str) -> float | None:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None


def choice(said: str, choices: tuple[str, ...]) -> int | None:
    """The place of the choice that is named by its letter or its words; None where none is, or more than one."""
    letters = LETTERS[: len(choices)]
    # A letter first: it is what was asked for, also where a choice is a letter itself.
    first = _FIRST.match(said.strip())
    if first and first[1] in letters:
        return letters.index(first[1])
    plain = normalised(said)
    alike = [place for place, one in enumerate(choices) if plain and plain == normalised(one)]
    if len(alike) == 1:
        return alike[0]
    told = [hit.upper() for hit in _SAID.findall(said[-patterns.LONGEST :])]
    if told and told[-1] in letters:
        return letters.index(told[-1])
    named = [place for place, one in enumerate(choices) if _within(one, said, case=False)]
    return named[0] if len(named) == 1 else None


def lettered(choices: tuple[str, ...]) -> str:
    return "\n".join(f"{LETTERS[k]}. {one}" for k, one in enumerate(choices))


def _within(part: str, text: str, case: bool) -> bool:
    """Whether the words of `part` stand in `text`, not as pieces of longer words."""
    if case:
        return re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text) is not None
    plain = normalised(part)
    return bool(plain) and f" {plain} " in f" {normalised(text)} "


def _same(given: float, expected: str) -> bool:
    wanted = number(expected)
    return wanted is not None and abs(given - wanted) <= _NEAR * max(1.0, abs(wanted))
