"""The steps of a correction: each takes the row on in one transaction with the job that it makes."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.audits import resolving
from core.audits.suite import Suite
from core.audits.wishes import AuditWish, SuiteWish
from core.catalog import models, offers, versions
from core.catalog.models import Offer, Served
from core.config import Settings
from core.errors import Conflict
from core.gate.tables import Audit
from core.jobs.job import Job
from core.jobs.kinds import AuditJob, FinetuneJob
from core.jobs.submission import Submitted, Wish, submit_all
from core.measures import comparing, intervals
from core.measures.rows import Row
from core.security.keys import Caller
from core.studies.correcting import CorrectionWish, fail
from core.studies.tables import Correction

# An epoch of few templates is a handful of steps; so many examples are what moved a small model's preferences
# wholly in our trials, and a large one's sooner.
EXAMPLES = 2400
MAX_EPOCHS = 50
LABEL = "penstock.correction"
_NAMES = {"training": "fine-tune", "auditing": "second audit"}


async def train(
    session: AsyncSession, found: Correction, settings: Settings, file_id: str, lessons: int
) -> None:
    """Submit the fine-tune on the lessons that are in a file. Raises InvalidInput when the model is not served."""
    audit = await _first(session, found)
    wish = CorrectionWish.model_validate(found.wish)
    hyper = wish.hyperparameters
    if hyper.n_epochs == "auto" and hyper.max_steps is None:
        passes = max(1, min(MAX_EPOCHS, round(EXAMPLES / lessons)))
        hyper = hyper.model_copy(update={"n_epochs": passes})
    spec = FinetuneJob.model_validate(
        {
            "kind": "finetune", "model": audit.model, "training_file": file_id, "suffix": wish.suffix,
            "seed": wish.seed, "method": {"hyperparameters": hyper.model_dump()},
            "metadata": {LABEL: found.id},
        }
    )  # fmt: skip
    model, _ = await _model(session, found, settings, audit.model)
    found.training = (await _submitted(session, Wish(_caller(found), spec, model))).job.id
    found.lessons, found.state = lessons, "training"


async def audit_again(session: AsyncSession, found: Correction, settings: Settings) -> None:
    """The training has ended: audit what it made, its bias suites on templates that it has not seen."""
    assert found.training is not None, "it has just been looked at"
    version = await versions.of_job(session, found.training)
    if version is None:
        fail(
            found,
            f"The fine-tune {found.training} succeeded, and its model is not in the catalog any more",
        )
        return
    first = await _first(session, found)
    wish = second_wish(first, found.suites, version.name)
    model, offer = await _model(session, found, settings, version.name)
    new = await resolving.resolve(session, _caller(found), wish, model, offer)
    spec = AuditJob.model_validate(
        wish.model_dump() | {"kind": "audit", "metadata": {LABEL: found.id}}
    )
    made = await _submitted(session, Wish(_caller(found), spec, model, audit=new))
    found.second, found.state = made.job.id, "auditing"


def second_wish(first: Audit, corrected: Sequence[str], model: str) -> AuditWish:
    """The same audit of another model; the corrected suites ask only what was held out.

    By the same seed and rendering: a draw of so many items has those that the first asked then, asked as they were."""
    return AuditWish(
        model=model,
        seed=first.settings["seed"],
        render=first.settings["render"],
        confidence=first.settings["confidence"],
        policy=f"{first.policy_name}@{first.policy_version}" if first.policy else "none",
        suites=[
            SuiteWish(
                suite=one["name"],
                files={name: file["id"] for name, file in one["files"].items()} or None,
                options=one["options"],
                items=one["items"],
                split="held_out" if one["name"] in corrected else one["split"],
            )
            for one in first.suites
        ],
    )


def compared(
    suite: Suite, names: Sequence[str], before: list[Row], after: list[Row]
) -> list[dict[str, Any]]:
    """Each of the metrics on the items that both audits asked: before, after and the change of it, with intervals."""
    both = {row.item for row in before} & {row.item for row in after}
    old = [row for row in before if row.item in both]
    new = [row for row in after if row.item in both]
    out = []
    for metric in (m for m in suite.metrics if m.name in names):
        change = comparing.paired(metric, new, old)
        out.append(
            {
                "suite": suite.name, "metric": metric.name,
                "before": asdict(intervals.estimate(metric, old)),
                "after": asdict(intervals.estimate(metric, new)),
                "change": {
                    "delta": change.delta, "low": change.low, "high": change.high,
                    "n": change.n, "clusters": change.clusters,
                },
            }
        )  # fmt: skip
    return out


async def close(session: AsyncSession, found: Correction, outcome: dict[str, Any]) -> None:
    """The second audit has its verdict, whichever it is: the correction is done."""
    found.outcome, found.state, found.ended_at = outcome, "done", func.now()
    await session.flush()


def stopped(found: Correction, job: Job | None) -> None:
    """The job of the step that it is in ended without success, or its row is gone: so ends the correction."""
    name = _NAMES[found.state]
    if job is None:
        fail(found, f"The {name} is gone: its job was deleted before the correction had gone on")
        return
    told = f": {job.error['message']}" if job.error else ""
    fail(found, f"The {name} ended as {job.state}{told}")


async def _first(session: AsyncSession, found: Correction) -> Audit:
    return (await session.scalars(select(Audit).where(Audit.job_id == found.first))).one()


async def _model(
    session: AsyncSession, found: Correction, settings: Settings, wanted: str
) -> tuple[Served, Offer]:
    offer = await offers.offered(session, found.tenant_id)
    model = models.resolve(wanted, offer.models, settings, param="model", aliases=offer.aliases)
    return model, offer


def _caller(found: Correction) -> Caller:
    """Its jobs are those of the key that began it."""
    return Caller(found.tenant_id, found.key_id)


async def _submitted(session: AsyncSession, wish: Wish) -> Submitted:
    (done,) = await submit_all(session, [wish])
    assert not isinstance(done, Conflict), "it has no idempotency key"
    return done
