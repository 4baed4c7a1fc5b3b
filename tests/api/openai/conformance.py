"""Counting: the fields that the `openai` package's own types know of a family, and those we take and give.

Two figures each: out of all that the types know, and out of what text and functions can ever fill. A field of an
answer counts once some answer had a value in it: null and empty lists count for nothing.
"""

import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import NoneType, UnionType
from typing import Any

from pydantic import BaseModel

HONOURED, KEPT, ACCEPTED, REFUSED = "honoured", "kept", "accepted", "refused"
MAX_DEPTH = 6
Model = type[BaseModel]


@dataclass(frozen=True)
class Family:
    """What the client may send to some routes, what it reads, and which of it is beyond a text model."""

    name: str
    # The client's parameter types: of the family's first route under "", of others under their names.
    requests: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    answers: tuple[Model, ...] = ()
    # Answers of which only their own fields are counted: what they carry is counted by itself.
    shallow: tuple[Model, ...] = ()
    # What becomes of each request field, and the sentence about it in the table.
    fields: dict[str, tuple[str, str]] = field(default_factory=dict)
    # Where an answer may be one of several models, those that text and functions can make of it.
    spoken: tuple[Model, ...] = ()
    # Beyond text and functions: reason -> fields of requests, and patterns of paths in answers.
    beyond: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def known(self) -> set[str]:
        """All request fields of the package, `list.after` for those of other routes than the first."""
        return {
            f"{route}.{name}" if route else name
            for route, types in self.requests.items()
            for one in types
            for name in typing.get_type_hints(one)
        }

    @property
    def accepted(self) -> set[str]:
        return {name for name, (fate, _) in self.fields.items() if fate != REFUSED}

    @property
    def readable(self) -> set[str]:
        """All fields of its answers."""
        whole = {f"{a.__name__}.{p}" for a in self.answers for p in paths(a)}
        return whole | {f"{a.__name__}.{p}" for a in self.shallow for p in paths(a, shallow=True)}

    @property
    def speakable(self) -> set[str]:
        """Those that text and functions can fill."""
        some = {f"{a.__name__}.{p}" for a in self.answers for p in paths(a, spoken=self.spoken)}
        some |= {f"{a.__name__}.{p}" for a in self.shallow for p in paths(a, shallow=True)}
        return self.within(some) & self.readable

    def within(self, names: set[str]) -> set[str]:
        """Without what is beyond text and functions."""
        patterns = [p for some in self.beyond.values() for p in some]
        return {n for n in names if not any(fnmatchcase(n, p) for p in patterns)}

    def row(self, found: set[str]) -> str:
        """Its line of the table. `found`: the fields that answers had."""
        cells = [
            share(self.accepted, self.within(self.known)),
            share(found, self.speakable),
            share(self.accepted, self.known),
            share(found, self.readable),
        ]
        return f"| {self.name} | {' | '.join(cells)} |"


def paths(
    model: Model, at: str = "", spoken: tuple[Model, ...] = (), *, shallow: bool = False
) -> Iterator[str]:
    """Every field that the client can read of an answer, by its path.

    `spoken`: of several models follow these alone. `shallow`: follow only lists of plain values' own models.
    """
    for name, info in model.model_fields.items():
        path = f"{at}.{info.alias or name}" if at else info.alias or name
        yield path
        found = list(_models(info.annotation))
        several = len(found) > 1
        if several and (spoken or shallow):
            found = [m for m in found if m in spoken]
        if shallow and name in ("response", "item", "part"):
            continue
        for inner in found:
            if path.count(".") < MAX_DEPTH:
                yield from paths(inner, path, spoken, shallow=shallow)


def _models(annotation: Any) -> Iterator[Model]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) in (typing.Union, UnionType, list, typing.Annotated):
        for inner in typing.get_args(annotation):
            if inner is not NoneType:
                yield from _models(inner)


def produced(answer: Any, at: str = "") -> Iterator[str]:
    """The fields of one answer that had a value."""
    if isinstance(answer, dict):
        for name, value in answer.items():
            if value is None or value in ({}, []):
                continue
            path = f"{at}.{name}" if at else name
            yield path
            yield from produced(value, path)
    elif isinstance(answer, list):
        for one in answer:
            yield from produced(one, at)


def had(model: Model, answer: Any) -> set[str]:
    """The fields of an answer that the client reads as `model`."""
    return {f"{model.__name__}.{path}" for path in produced(answer)}


def share(part: set[str], whole: set[str]) -> str:
    """`31 of 37 (84 %)`."""
    if not whole:
        return "none"
    return f"{len(part & whole)} of {len(whole)} ({100 * len(part & whole) // len(whole)} %)"


HEAD = (
    "| family | request fields | response fields | of all types: request | of all types: response |\n"
    "|---|---|---|---|---|"
)


def fields_table(families: tuple[Family, ...]) -> str:
    """What happens to each request field, family by family."""
    lines = []
    for family in families:
        if not family.fields:
            continue
        lines += [f"**{family.name}**", "", "| field | | |", "|---|---|---|"]
        lines += [
            f"| `{name}` | {fate} | {note} |"
            for name, (fate, note) in sorted(
                family.fields.items(), key=lambda f: ("." in f[0], f[0])
            )
        ]
        lines.append("")
    return "\n".join(lines).strip()


def missing_list(families: tuple[Family, ...], found: dict[str, set[str]]) -> str:
    """What the first two figures lack. `found`: the fields that answers had, by family."""
    lines = []
    for family in families:
        for what, lacking in (
            ("takes no", family.within(family.known) - family.accepted),
            ("never fills", family.speakable - found[family.name]),
        ):
            if lacking:
                names = ", ".join(f"`{name}`" for name in sorted(lacking))
                lines.append(f"- **{family.name}** {what} {names}")
    return "\n".join(lines)


def beyond_list(families: tuple[Family, ...]) -> str:
    """What the first two figures leave out, and why."""
    lines = []
    for family in families:
        for reason, names in family.beyond.items():
            shown = ", ".join(f"`{name}`" for name in names)
            lines.append(f"- **{family.name}**: {reason}: {shown}")
    return "\n".join(lines)
