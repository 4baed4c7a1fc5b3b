"""One attempt of an explanation: what is explained, every edit scored once, the check of it, the words."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import select

from core.audits import materials, service
from core.audits.chosen import Asked, Chosen, asked
from core.audits.shapes import answer_of
from core.audits.tables import AuditAnswer
from core.errors import NotFound
from core.jobs.explain import AuditItem, ExplainSpec
from core.security.keys import Caller
from core.studies import cases, explained
from core.studies.cases import Case
from core.studies.explaining import Study
from workers.context import Attempt
from workers.explain.scoring import Scoring
from workers.process import InferenceWorker


async def handle(
    worker: InferenceWorker, attempt: Attempt
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the explanation (docs/explaining.md has its shape) and the usage of all attempts.

    Raises InvalidInput for what cannot be explained, NotFound for an item that is not there.
    """
    spec = ExplainSpec.model_validate(attempt.claim.spec)
    claim = attempt.claim
    held = await worker.guards.of(claim.tenant_id, claim.guard, claim.labels)
    guard = held.guard if held is not None and held.guard.enforces else None
    scoring = Scoring(worker, attempt, guard)
    scoring.phase("read")
    case = await _case(worker, attempt, spec) if spec.audit else cases.of_spec(spec)
    unit, found = cases.cut(spec, case)
    study = Study(case.texts, tuple(found), tuple(spec.swaps), spec.seed)
    async with worker.adapters.held(attempt.claim.adapter):
        aim = case.aim or await scoring.written(case, spec)
        await scoring.score(case, aim, study.first(), alternatives=True)
        await scoring.score(case, aim, study.second(scoring.scores))
    result = explained.explanation(study, unit, aim, scoring.scores, case.roles)
    result["alternatives"] = explained.alternatives(study, scoring.scores, scoring.tops)
    result["audit"] = spec.audit.model_dump() if spec.audit else None
    return result, scoring.usage()


async def _case(worker: InferenceWorker, attempt: Attempt, spec: ExplainSpec) -> Case:
    """An item of one of the tenant's own audits, made of its files again."""
    assert spec.audit is not None
    caller = Caller(attempt.claim.tenant_id, "")
    async with worker.db.single() as session:
        audit = await service.get(session, caller, spec.audit.id)
        row = await session.scalar(
            select(AuditAnswer).where(
                AuditAnswer.job_id == audit.job_id,
                AuditAnswer.subject == "model",
                AuditAnswer.suite == spec.audit.suite,
                AuditAnswer.item == spec.audit.item,
            )
        )
    chosen = [one for one in audit.suites if one["name"] == spec.audit.suite]
    if row is None or not chosen:
        raise _unknown(spec.audit)
    with tempfile.TemporaryDirectory(prefix="penstock-explain-") as folder:
        whole = await _asked(
            worker, attempt, Chosen.of_json(chosen[0]), audit.settings["seed"], folder
        )
    item = next((one for one in whole.items if one.id == spec.audit.item), None)
    if item is None:
        raise _unknown(spec.audit)
    render = audit.settings["render"]
    chats = render == "chat" or (render == "auto" and worker.text.chats)
    return cases.of_item(spec, item.ask, answer_of(row.answer), chats=chats, text=worker.text)


async def _asked(
    worker: InferenceWorker, attempt: Attempt, chosen: Chosen, seed: int, folder: str
) -> Asked:
    tenant_id = attempt.claim.tenant_id
    files = await materials.brought(worker.db, worker.storage, tenant_id, [chosen], Path(folder))
    return await asyncio.to_thread(asked, chosen, files[0], seed, lambda: None)


def _unknown(wanted: AuditItem) -> NotFound:
    return NotFound(
        f"The audit {wanted.id} has no answer to {wanted.item!r} of {wanted.suite!r}. GET /v1/audits/{wanted.id}/items "
        "lists them.",
        param="audit",
    )
