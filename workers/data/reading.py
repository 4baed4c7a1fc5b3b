"""The first stage: every row of every source checked, and put on disk in our own form."""

import importlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workers.data import formats
from workers.data.formats import Known
from workers.data.plan import Plan, Source
from workers.data.problems import Problems, whole
from workers.data.sources import Numbered, Reading
from workers.data.spool import Place, Spool, canonical
from workers.data.telling import Telling


@dataclass
class Read:
    """What was read, and what was odd about it without being wrong."""

    rows: Spool
    names: list[str] = field(default_factory=list)
    formats: Counter[str] = field(default_factory=Counter)
    odd: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)


def read(plan: Plan, sources: list[Source], param: str, rows: Spool, telling: Telling) -> Read:
    """Raises Invalid with all that is wrong, up to a page of it; `param` named the sources."""
    problems = Problems(param)
    made = Read(rows)
    for number, source in enumerate(sources):
        made.names.append(source.called)
        _source(plan, number, source, made, problems, telling)
    problems.check()
    if "preference" in made.formats and len(made.formats) > 1:
        others = ", ".join(sorted(set(made.formats) - {"preference"}))
        message = f"hold preferences and rows of the form {others}; make a set of each"
        raise whole(", ".join(made.names), message, param=param)
    if not len(made.rows):
        raise whole(", ".join(made.names), "holds no rows; give at least one", param=param)
    return made


def _source(
    plan: Plan, file: int, source: Source, made: Read, problems: Problems, telling: Telling
) -> None:
    reading = Reading(source, problems)
    known: Known | None = None if plan.format == "auto" else plan.format
    for line, value in _rows(source, reading, problems):
        telling.row(len(made.rows))
        if known is None:
            known = formats.detected(value)
            if known is None:
                problems.add(source.called, line, "", _unknown(value))
                continue
        _suits(plan, known, source.called, problems.param)
        _row(known, value, Place(file, line), made, problems)
    made.odd.update(reading.odd)


def _rows(source: Source, reading: Reading, problems: Problems) -> Iterator[Numbered]:
    if source.hub or (source.path and Path(source.path).is_dir()):
        # The library takes seconds to load; most runs read files.
        hub: Any = importlib.import_module("workers.data.hub")
        yield from hub.rows(source, problems.param)
    else:
        yield from reading.rows()


def _row(known: Known, value: Any, place: Place, made: Read, problems: Problems) -> None:
    name, before = made.names[place.file], len(problems.found)
    row = formats.checked(
        known,
        value,
        lambda field, message: problems.add(name, place.line, field, message),
        made.unread,
    )
    if len(problems.found) > before:
        return
    try:
        written = canonical(row)
    except TypeError as error:
        # Tools are a client's JSON: they may hold what cannot be written again.
        problems.add(name, place.line, "tools", f"cannot be stored: {error}")
        return
    made.rows.add(written, place)
    made.formats[known] += 1


def _unknown(value: Any) -> str:
    if not isinstance(value, dict):
        return f"must be a JSON object, such as {formats.SHAPES}"
    return f"has the fields {', '.join(sorted(map(str, value))[:8]) or 'of none'}; rows must be {formats.SHAPES}"


def _suits(plan: Plan, known: Known, name: str, param: str) -> None:
    if plan.method == "dpo" and known != "preference":
        raise whole(
            name,
            f"holds rows of the form {known!r}; method dpo learns from preferences: "
            '{"input", "preferred_output", "non_preferred_output"} or {"prompt", "chosen", "rejected"}',
            param=param,
        )
    if plan.method == "supervised" and known == "preference":
        raise whole(name, "holds preferences; train on them with the method dpo", param=param)
