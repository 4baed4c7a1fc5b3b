"""The stages one after the other: reading, filtering, tokenising, packing; and the report of what they did.

sources -> [reading] -> rows -> [filtering] -> kept, split -> [tokenising] -> ids -> [packing] -> Arrow + report
"""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from core.catalog import tokenizer
from core.catalog.tokenizer import Text
from core.config import Settings
from workers.data import arrow, augmenting, fetching, reading, report, splitting, tokenising
from workers.data.conversation import Row
from workers.data.filtering import Filtering, Groups
from workers.data.plan import Filters, Plan
from workers.data.problems import Problems, whole
from workers.data.reading import Read
from workers.data.splitting import TRAIN, VALIDATION
from workers.data.spool import Spool, canonical
from workers.data.telling import Telling
from workers.data.tokenising import Cut, Pairs, Tokenising
from workers.data.work import Work

TRAINING_FILE, VALIDATION_FILE = "training_file", "validation_file"


@dataclass
class Part:
    """Rows of one side: which of a spool, whose `names` say where they are from."""

    name: str
    param: str
    rows: Spool
    names: list[str]
    kept: Any
    copies: bool
    written: int = 0
    augmented: int = 0


def run(plan: Plan, telling: Telling) -> dict[str, Any]:
    """Fills `plan.out`, and returns the report that lies there too. Raises Invalid, Refused, Stopped."""
    _clear(plan.out)
    with Work(plan.out / ".work") as work:
        text = tokenizer.load(plan.tokenizer) if plan.tokenise and plan.tokenizer else None
        parts, told = _prepared(plan, work, telling)
        for part in parts:
            if text is None or plan.rows:
                told[part.name] = _stored(plan, part, telling)
            if text is None:
                continue
            if plan.method == "dpo" or (plan.method is None and "preference" in told["formats"]):
                told[part.name] = _preferences(plan, part, text, telling)
            else:
                told[part.name] = _documents(plan, part, work, text, telling)
        telling.phase("")
        made = report.finished(plan, told)
    (plan.out / "report.json").write_bytes(orjson.dumps(made, option=orjson.OPT_INDENT_2))
    return made


def _clear(out: Path) -> None:
    """Take away what an attempt that was cut off left."""
    for name in ("train", "validation", ".work"):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in ("train.parquet", "validation.parquet", "report.json"):
        (out / name).unlink(missing_ok=True)


def _prepared(plan: Plan, work: Work, telling: Telling) -> tuple[list[Part], dict[str, Any]]:
    """The rows that stay, by the side they are on; and the report's first half."""
    telling.phase("reading")
    settings = Settings()
    sources = fetching.local(plan.sources, settings, work.folder / "sources", TRAINING_FILE)
    others = fetching.local(plan.validation, settings, work.folder / "held", VALIDATION_FILE)
    read = reading.read(plan, sources, TRAINING_FILE, work.spool("read"), telling)
    held = (
        reading.read(plan, others, VALIDATION_FILE, work.spool("others"), telling)
        if others
        else None
    )
    telling.phase("filtering")
    share = 0.0 if held else plan.validation_share
    filtering = Filtering(plan.filters, read.names, groups=share > 0)
    passed, groups = _filtered(filtering, read, work.spool("passed"), telling)
    part = splitting.split(groups, share, plan.seed)
    parts = [Part("train", TRAINING_FILE, passed, read.names, part == TRAIN, copies=True)]
    told = report.begun(read, filtering, int(groups.alive.sum()))
    if held is not None:
        mending = Filtering(_mending(plan.filters), held.names, groups=False)
        rows, alive = _filtered(mending, held, work.spool("mended"), telling)
        parts.append(
            Part("validation", VALIDATION_FILE, rows, held.names, alive.alive, copies=False)
        )
        told["notes"]["validation_rows_in_training"] = filtering.shared_with(mending)
    elif share:
        parts.append(
            Part("validation", TRAINING_FILE, passed, read.names, part == VALIDATION, copies=False)
        )
    return parts, told


def _mending(filters: Filters) -> Filters:
    """A file for validation is mended as the training rows are; nothing of it is dropped."""
    names = ("unicode", "control", "mojibake", "whitespace")
    return Filters(**{name: getattr(filters, name) for name in names})


def _filtered(
    filtering: Filtering, read: Read, passed: Spool, telling: Telling
) -> tuple[Spool, Groups]:
    filtering.run(read.rows, passed, telling)
    groups = filtering.groups(passed, telling)
    if not groups.alive.any():
        rules = ", ".join(f"{rule} {found['rows']}" for rule, found in filtering.told.items())
        raise whole(
            ", ".join(read.names),
            f"has no rows left: all {len(read.rows)} were dropped ({rules}); loosen the filters",
            code="no_rows_left",
        )
    read.rows.close()
    return passed, groups


def _rows(plan: Plan, part: Part, telling: Telling) -> Iterator[tuple[Row, bytes, str, int]]:
    """(row, as it is hashed, file, line) of what comes out, copies behind the rows they are of."""
    part.written = part.augmented = 0
    for number, line in part.rows.rows():
        telling.row(number + 1)
        if not part.kept[number]:
            continue
        row = orjson.loads(line)
        place = part.rows.place(number)
        file = part.names[place.file]
        part.written += 1
        yield row, line, file, place.line
        for copy in augmenting.copies(row, plan.augment, plan.seed) if part.copies else ():
            part.augmented += 1
            yield copy, canonical(copy), file, place.line


def _stored(plan: Plan, part: Part, telling: Telling) -> dict[str, Any]:
    """The rows themselves, as Parquet."""
    telling.phase("packing")
    digest = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for _, line, _, _ in _rows(plan, part, telling):
            digest.update(line + b"\n")
            yield line

    arrow.parquet(plan.out / f"{part.name}.parquet", hashed())
    return {
        "documents": part.written + part.augmented,
        "augmented": part.augmented,
        "digest": digest.hexdigest(),
    }


def _documents(plan: Plan, part: Part, work: Work, text: Text, telling: Telling) -> dict[str, Any]:
    telling.phase("tokenising")
    problems, digest, cut = Problems(part.param), hashlib.sha256(), Cut()
    tokenising_ = Tokenising(text, plan.max_length, problems, cut)
    flat = work.flat(part.name)
    for row, line, file, number in _rows(plan, part, telling):
        for document in tokenising_.documents(row, file, number):
            flat.add(document)
        digest.update(line + b"\n")
    problems.check()
    _something(len(flat), plan, part, cut)
    telling.phase("packing")
    lengths = tokenising.write_packed(
        plan.out / part.name, flat, plan.max_length, digest.hexdigest(), pack=plan.packing
    )
    flat.close()
    return report.part(plan, part.augmented, digest.hexdigest(), flat, lengths, cut)


def _preferences(plan: Plan, part: Part, text: Text, telling: Telling) -> dict[str, Any]:
    telling.phase("tokenising")
    problems, digest, cut = Problems(part.param), hashlib.sha256(), Cut()
    tokenising_ = Tokenising(text, plan.max_length, problems, cut)
    pairs = Pairs(plan.out / part.name)
    for row, line, file, number in _rows(plan, part, telling):
        pair = tokenising_.preference(row, file, number)
        if pair is not None:
            pairs.add(pair)
        digest.update(line + b"\n")
    problems.check()
    _something(len(pairs.lengths), plan, part, cut)
    pairs.close(digest.hexdigest())
    return report.part(plan, part.augmented, digest.hexdigest(), pairs, pairs.lengths, cut)


def _something(count: int, plan: Plan, part: Part, cut: Cut) -> None:
    if count:
        return
    longest = cut.too_long.rows
    raise whole(
        ", ".join(part.names),
        f"has nothing left to learn: {longest} rows are longer than max_length {plan.max_length}; raise it",
        code="no_rows_left",
        param=part.param,
    )
