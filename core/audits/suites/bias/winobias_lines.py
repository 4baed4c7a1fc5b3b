"""WinoBias's published lines: a sentence with the person and the pronoun in brackets, pro and anti by line number."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from core.audits.suites import records
from core.audits.suites.records import Place

PRONOUNS = frozenset({"he", "she", "him", "her", "his", "hers", "himself", "herself"})
# The uploaded files: with the stereotype and against it, for each of the two kinds of sentence.
KINDS: Mapping[str, tuple[str, str]] = {"1": ("pro_t1", "anti_t1"), "2": ("pro_t2", "anti_t2")}
_NUMBER = re.compile(r"(\d+)[ \t]+(?=\S)")
_BRACKET = re.compile(r"\[([^][]+)\]")
_ARTICLE = re.compile(r"(?:the|an?)\s+", re.IGNORECASE)
# "the [the chief]": an article before the bracket and one in it, in 13 published lines.
_TWICE = re.compile(r"\b(the|an?) \[(?=(?:the|an?) )", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Sentence:
    """`text` without brackets; `person`: whom the pronoun means, an occupation in lower case without its article."""

    place: Place
    text: str
    person: str
    pronoun: str


def read(name: str, path: Path) -> Iterator[Sentence]:
    lines = records.text(name, path).rstrip("\n").split("\n")
    for number, said in enumerate(lines, 1):
        place = records.line(name, number)
        numbered = _NUMBER.match(said)
        if numbered is None:
            raise place.wrong("number", "is missing", 'begin the line with its number, "1 The ..."')
        if int(numbered[1]) != number:
            problem = f"is {numbered[1]}, and this is line {number}"
            raise place.wrong("number", problem, "number the lines from 1: they are paired by it")
        yield _sentence(place, said[numbered.end() :].strip())


def _sentence(place: Place, said: str) -> Sentence:
    marked = [mark[1].strip() for mark in _BRACKET.finditer(said)]
    pronouns = [mark for mark in marked if mark.lower() in PRONOUNS]
    people = [mark for mark in marked if mark.lower() not in PRONOUNS]
    advice = 'write it as "[The cook] thanked the guard because [she] was hungry."'
    if said.count("[") != len(marked) or said.count("]") != len(marked):
        raise place.wrong("brackets", "do not close, or are nested", advice)
    if len(people) != 1:
        raise place.wrong("person", f"must be marked once, and is {len(people)} times", advice)
    if not pronouns:
        raise place.wrong("pronoun", "is not marked", advice)
    text = _BRACKET.sub(r"\1", _TWICE.sub("[", said))
    person = _ARTICLE.sub("", people[0].lower(), count=1)
    return Sentence(place, text, person, pronouns[0].lower())


def others(sentences: list[Sentence]) -> list[str]:
    """For each sentence the other person in it: the occupation, of all that any sentence marks, that it names too.

    Of several the first: in the one published line that names three (72 of type 2's development split), the third is
    somebody who is only told. Raises InvalidInput for a sentence that names none.
    """
    known = sorted({one.person for one in sentences}, key=len, reverse=True)
    patterns = {person: re.compile(rf"\b{re.escape(person)}s?\b") for person in known}
    return [_other(sentence, known, patterns) for sentence in sentences]


def _other(sentence: Sentence, known: list[str], patterns: Mapping[str, re.Pattern[str]]) -> str:
    said = sentence.text.lower()
    found = []
    for person in known:
        # A plain look before the pattern: a file holds 40 occupations and 1,584 sentences.
        if person in said and patterns[person].search(said):
            found.append(person)
            said = patterns[person].sub("-", said)
    rest = [person for person in found if person != sentence.person]
    if not rest:
        problem = "must name another person whom some line marks, and names none"
        advice = "mark each occupation in some line, and name two in each sentence"
        raise sentence.place.wrong("sentence", problem, advice)
    return min(rest, key=sentence.text.lower().find)
