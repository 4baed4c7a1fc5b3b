"""How many items of a run passed: an item passes a criterion by its own counts where it can be right or wrong.

Of a grader: where it passed. Of a suite of audits: where every share among its metrics that it counts for came out
the good way. A suite without such a share (log-odds, perplexity) has no right answer item by item: its items
share its audit's verdict, and are neither passed nor failed until there is one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import Boolean, Integer, Text

from core.audits.suites.listed import SUITES
from core.measures.rows import Row

PASS = "PASS"  # noqa: S105 - a verdict


@dataclass(frozen=True, slots=True)
class Share:
    """Names of counts; `higher`: all of the trials must be hits, else none may be."""

    hits: str
    trials: str
    higher: bool


@dataclass(slots=True)
class Counts:
    passed: int = 0
    failed: int = 0
    errored: int = 0
    total: int = 0


@dataclass(slots=True)
class Tally:
    """`each`: by the number of the criterion."""

    items: Counts = field(default_factory=Counts)
    each: dict[int, Counts] = field(default_factory=dict)


def shares(criterion: Mapping[str, Any]) -> list[Share]:
    """What an item is right or wrong by; none: by the verdict."""
    if (grader := criterion["grader"]) is not None:
        return [Share(f"passed[{grader}]", "asked", higher=True)]
    suite = SUITES.get(criterion["suite"])
    return [
        Share(*metric.share, higher=metric.better == "higher")
        for metric in (suite.metrics if suite else ())
        if metric.share is not None and metric.better != "neutral"
    ]


def passes(criterion: Mapping[str, Any], row: Row, verdict: str | None) -> bool | None:
    """Of one valid row, as the statement below says of all; None: not known yet."""
    by = shares(criterion)
    if not by:
        return None if verdict is None else verdict == PASS
    return all(_right(one, row.counts) for one in by)


def _right(by: Share, counts: Mapping[str, float]) -> bool:
    trials, hits = counts.get(by.trials, 0.0), counts.get(by.hits, 0.0)
    return trials == 0 or (hits == trials if by.higher else hits == 0)


_TALLY = text(
    """WITH c AS (
           SELECT * FROM unnest(:jobs, :numbers, :suites, :hits, :trials, :higher, :verdicts)
               AS v(job, number, suite, hits, trials, higher, verdict)
       ), judged AS (
           SELECT a.job_id, a.suite, a.item, c.number, (a.row ->> 'valid')::boolean AS valid,
                  bool_and(CASE
                      WHEN c.hits IS NULL THEN c.verdict
                      WHEN coalesce((a.row -> 'counts' ->> c.trials)::float8, 0) = 0 THEN true
                      WHEN c.higher THEN coalesce((a.row -> 'counts' ->> c.hits)::float8, 0)
                          = (a.row -> 'counts' ->> c.trials)::float8
                      ELSE coalesce((a.row -> 'counts' ->> c.hits)::float8, 0) = 0 END) AS passed
           FROM audit_answers a JOIN c ON c.job = a.job_id AND c.suite = a.suite
           WHERE a.subject = 'model' GROUP BY 1, 2, 3, 4, 5
       ), whole AS (
           SELECT job_id, suite, item, -1 AS number, valid, bool_and(passed) AS passed
           FROM judged GROUP BY 1, 2, 3, 5
       )
       SELECT job_id, number, count(*) FILTER (WHERE valid AND passed) AS passed,
              count(*) FILTER (WHERE valid AND NOT passed) AS failed,
              count(*) FILTER (WHERE NOT valid) AS errored, count(*) AS total
       FROM (SELECT * FROM whole UNION ALL SELECT job_id, suite, item, number, valid, passed FROM judged) t
       GROUP BY 1, 2"""
).bindparams(
    *(bindparam(n, type_=ARRAY(Text)) for n in ("jobs", "suites", "hits", "trials")),
    bindparam("numbers", type_=ARRAY(Integer)),
    *(bindparam(n, type_=ARRAY(Boolean)) for n in ("higher", "verdicts")),
)


async def tallied(
    session: AsyncSession, runs: Sequence[tuple[str, list[dict[str, Any]], str | None]]
) -> dict[str, Tally]:
    """By job. `runs`: a job's id, its criteria, and the verdict that counts, if there is one."""
    rows: list[tuple[Any, ...]] = []
    for job, criteria, verdict in runs:
        known = None if verdict is None else verdict == PASS
        for number, criterion in enumerate(criteria):
            at = (job, number, criterion["suite"])
            by: list[tuple[Any, ...]] = [
                (one.hits, one.trials, one.higher) for one in shares(criterion)
            ]
            rows += [(*at, *one, known) for one in by or [(None, None, None)]]
    out = {job: Tally() for job, _, _ in runs}
    if not rows:
        return out
    names = ("jobs", "numbers", "suites", "hits", "trials", "higher", "verdicts")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    for row in await session.execute(_TALLY, columns):
        counts = Counts(row.passed, row.failed, row.errored, row.total)
        if row.number < 0:
            out[row.job_id].items = counts
        else:
            out[row.job_id].each[row.number] = counts
    return out
