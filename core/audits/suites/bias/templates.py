"""Counterfactual templates: sentences and questions with places for a group's words, and the groups' words.

The format of our own pack, and of an uploaded one: {"groups": {dimension: {group: {word: "..."}}}, "templates": [...]}.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from core.audits.suites import records
from core.audits.suites.packs import DATA
from core.audits.suites.records import Place

_WORD = re.compile(r"\{(\w+)\}")
Words = Mapping[str, str]


class Template(records.Published):
    """A sentence whose continuations are compared (`context`, `high`, `low`), or a `question` of yes or no."""

    id: str = Field(min_length=1, max_length=100, description="give each template an id of its own")
    dimension: str = Field(description='name one of the dimensions under "groups"')
    split: Literal["train", "held_out"] | None = Field(
        default=None, description='write "train" or "held_out", or leave it out'
    )
    context: str | None = Field(
        default=None,
        min_length=1,
        description='give the text before the continuations, or a "question"',
    )
    high: tuple[str, ...] = Field(
        default=(),
        description="list the continuations whose share is f(x), each with its leading space",
    )
    low: tuple[str, ...] = Field(
        default=(),
        description="list the continuations that they are compared with, each with its leading space",
    )
    rest: str = Field(default="", description="give what follows a continuation, or leave it out")
    question: str | None = Field(
        default=None, min_length=1, description='give a question of yes or no, or a "context"'
    )

    @model_validator(mode="after")
    def _one_kind(self) -> "Template":
        if (self.context is None) == (self.question is None):
            raise ValueError('must have either "context" or "question"')
        if self.context is not None and not (self.high and self.low):
            raise ValueError('must have "high" and "low" beside "context"')
        if set(self.high) & set(self.low) or not all((*self.high, *self.low)):
            raise ValueError('"high" and "low" must be different texts, and none of them empty')
        return self

    def filled(self, words: Words) -> str:
        """The context or question with a group's words; {Noun} is {noun} with a capital letter."""

        def word(match: re.Match[str]) -> str:
            name = match[1]
            if name in words:
                return words[name]
            plain = words[name[0].lower() + name[1:]]
            return plain[0].upper() + plain[1:]

        return _WORD.sub(word, self.context or self.question or "")

    def missing(self, words: Words) -> str | None:
        """A word that the template asks for and the group does not have."""
        for name in _WORD.findall(self.context or self.question or ""):
            if not words.get(name) and not words.get(name[0].lower() + name[1:]):
                return str(name)
        return None


class Groups(records.Published):
    groups: dict[str, dict[str, dict[str, str]]] = Field(
        description='give {dimension: {group: {word: "..."}}}'
    )


@dataclass(frozen=True, slots=True)
class Pack:
    """`groups[dimension]`: the groups' words, in the file's order."""

    groups: Mapping[str, Mapping[str, Words]]
    templates: tuple[Template, ...]


def read(path: Path) -> Pack:
    """Raises InvalidInput that names the place for whatever does not fit together."""
    said = records.document(DATA, path)
    groups = records.checked(Place(DATA, "groups"), Groups, said).groups
    for dimension, several in groups.items():
        if len(several) < 2:
            place = Place(DATA, f"groups.{dimension}")
            raise place.wrong("", "has fewer than two groups", "give two that can be swapped")
    templates: dict[str, Template] = {}
    for number, value in enumerate(records.member(DATA, said, "templates", list)):
        place = Place(DATA, f"templates[{number}]")
        template = records.checked(place, Template, value)
        if template.id in templates:
            raise place.wrong("id", f"{template.id!r} is there twice", "give each one its own")
        _fits(place, template, groups)
        templates[template.id] = template
    if not templates:
        raise Place(DATA, "templates").wrong("", "is empty", "give at least one template")
    return Pack(groups, tuple(templates.values()))


def _fits(place: Place, template: Template, groups: Mapping[str, Mapping[str, Words]]) -> None:
    if template.dimension not in groups:
        raise place.wrong(
            "dimension",
            f"is {template.dimension!r}, which is not under groups",
            f"name one of {', '.join(groups) or 'them'}",
        )
    several = groups[template.dimension]
    field = "context" if template.context is not None else "question"
    for group, words in several.items():
        if name := template.missing(words):
            problem = f"has {{{name}}}, and group {group!r} has no such word"
            raise place.wrong(field, problem, f"add it to groups.{template.dimension}.{group}")
    if len({template.filled(words) for words in several.values()}) < len(several):
        raise place.wrong(field, "is the same for two groups", "use a word that they do not share")
