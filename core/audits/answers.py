"""The answers of an audit in Postgres: recorded once each, with what they took, and read by page."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import bindparam, func, select, text, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import Integer, Text

from core.audits.asking import Answer
from core.audits.shapes import answer_as, row_as, row_of
from core.audits.tables import AuditAnswer
from core.db.session import Database
from core.measures.rows import Row

# Who answered.
MODEL, BASELINE = "model", "baseline"
PAGE = 1000


@dataclass(frozen=True, slots=True)
class NewAnswer:
    """`prompt`: exactly as the model was given it; `usage`: what it took, by the names of shapes.SPENT."""

    subject: str
    suite: str
    item: str
    number: int
    prompt: str
    answer: Answer
    row: Row
    usage: dict[str, Any]


# The usage is raised on the job's own row: a statement that ends the job while this one runs waits for it and sees
# what it made of the row, where a sum over answers would be of its own, older look at them.
_RECORD = text(
    """WITH mine AS (
           SELECT id FROM jobs WHERE id = :job AND attempt = :attempt AND state = 'running' FOR UPDATE
       ), made AS (
           INSERT INTO audit_answers (job_id, subject, suite, item, number, prompt, answer, row, usage)
           SELECT mine.id, v.* FROM mine, unnest(
               :subjects, :suites, :items, :numbers, :prompts, cast(:answers AS jsonb[]),
               cast(:rows AS jsonb[]), cast(:usages AS jsonb[])) AS v
           ON CONFLICT DO NOTHING RETURNING usage
       ), took AS (
           SELECT coalesce(sum((usage ->> 'prompt_tokens')::bigint), 0) AS asked,
                  coalesce(sum((usage ->> 'completion_tokens')::bigint), 0) AS said,
                  coalesce(sum((usage ->> 'cached_tokens')::bigint), 0) AS cached,
                  coalesce(sum((usage ->> 'engine_seconds')::numeric), 0) AS seconds FROM made
       )
       UPDATE jobs j SET usage = jsonb_build_object(
           'prompt_tokens', coalesce((j.usage ->> 'prompt_tokens')::bigint, 0) + t.asked,
           'completion_tokens', coalesce((j.usage ->> 'completion_tokens')::bigint, 0) + t.said,
           'total_tokens', coalesce((j.usage ->> 'total_tokens')::bigint, 0) + t.asked + t.said,
           'cached_tokens', coalesce((j.usage ->> 'cached_tokens')::bigint, 0) + t.cached,
           'engine_seconds', coalesce((j.usage ->> 'engine_seconds')::numeric, 0) + t.seconds)
       FROM mine, took t WHERE j.id = mine.id RETURNING j.id"""
).bindparams(
    bindparam("numbers", type_=ARRAY(Integer)),
    *(
        bindparam(name, type_=ARRAY(Text))
        for name in ("subjects", "suites", "items", "prompts", "answers", "rows", "usages")
    ),
)


async def record(session: AsyncSession, job: tuple[str, int], new: Sequence[NewAnswer]) -> bool:
    """Keep these, and what they took, in one statement; one that is there already stays as it is and costs nothing.

    `job`: its id and attempt. False when it is not this attempt's any more; nothing is changed then.
    """
    done = await session.execute(
        _RECORD,
        {
            "job": job[0], "attempt": job[1],
            "subjects": [n.subject for n in new], "suites": [n.suite for n in new],
            "items": [n.item for n in new], "numbers": [n.number for n in new],
            "prompts": [n.prompt.replace("\x00", "\ufffd") for n in new],
            "answers": [orjson.dumps(answer_as(n.answer)).decode() for n in new],
            "rows": [orjson.dumps(row_as(n.row)).decode() for n in new],
            "usages": [orjson.dumps(n.usage).decode() for n in new],
        },
    )  # fmt: skip
    return done.one_or_none() is not None


async def rows(
    database: Database, job_id: str, suite: str, subject: str = MODEL
) -> AsyncIterator[list[Row]]:
    """Every scored row in the order of the items, a page at a time: an answer's text is not read."""
    after = -1
    while True:
        async with database.single() as session:
            page = (
                await session.execute(
                    select(AuditAnswer.item, AuditAnswer.number, AuditAnswer.row)
                    .where(
                        AuditAnswer.job_id == job_id,
                        AuditAnswer.suite == suite,
                        AuditAnswer.subject == subject,
                        AuditAnswer.number > after,
                    )
                    .order_by(AuditAnswer.number)
                    .limit(PAGE)
                )
            ).all()
        if not page:
            return
        yield [row_of(one.item, one.row) for one in page]
        after = page[-1].number


async def count(session: AsyncSession, job_id: str) -> int:
    """How many answers are recorded, of all subjects."""
    query = select(func.count()).where(AuditAnswer.job_id == job_id)
    return int(await session.scalar(query) or 0)


@dataclass(frozen=True, slots=True)
class Place:
    """Of an answer among those of its audit."""

    suite: str
    subject: str
    number: int


async def page(
    session: AsyncSession,
    job_id: str,
    *,
    suite: str | None = None,
    subject: str | None = None,
    after: Place | None = None,
    limit: int = 20,
) -> tuple[list[AuditAnswer], bool]:
    """Answers in the order of suite, subject and item, from beyond `after`; and whether there is more."""
    place = (AuditAnswer.suite, AuditAnswer.subject, AuditAnswer.number)
    query = select(AuditAnswer).where(AuditAnswer.job_id == job_id).order_by(*place)
    if suite is not None:
        query = query.where(AuditAnswer.suite == suite)
    if subject is not None:
        query = query.where(AuditAnswer.subject == subject)
    if after is not None:
        query = query.where(tuple_(*place) > (after.suite, after.subject, after.number))
    found = list((await session.scalars(query.limit(limit + 1))).all())
    return found[:limit], len(found) > limit
