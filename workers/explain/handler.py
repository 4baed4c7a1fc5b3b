"""One attempt of an explanation: what is explained, every edit scored once, the check of it, the words."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from core.audits import materials
from core.audits.chosen import Asked, Chosen, asked
from core.audits.shapes import answer_of
from core.errors import Refused
from core.jobs.explain import AuditItem, ExplainSpec
from core.security.keys import Caller
from core.studies import cases, explained
from core.studies.cases import Case
from core.studies.explaining import Study
from core.studies.recorded import recorded
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
    case = (
        cases.of_spec(spec)
        if spec.audit is None
        else await _case(worker, attempt, spec.audit, spec)
    )
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


async def _case(
    worker: InferenceWorker, attempt: Attempt, wanted: AuditItem, spec: ExplainSpec
) -> Case:
    """An item of one of the tenant's own audits, made of its files again."""
    async with worker.db.single() as session:
        found = await recorded(session, Caller(attempt.claim.tenant_id, ""), wanted)
    settings = found.audit.settings
    with tempfile.TemporaryDirectory(prefix="penstock-explain-") as folder:
        whole = await _asked(worker, attempt, found.chosen, settings["seed"], folder)
    item = next((one for one in whole.items if one.id == wanted.item), None)
    if item is None:
        # Its suite is the same version, or `asked` would have refused it: it makes other items of these files.
        raise Refused(
            f"The suite {wanted.suite} makes no item {wanted.item!r} of the audit's files any more; audit anew",
            param="audit.item",
            code="suite_changed",
        )
    render = settings["render"]
    chats = render == "chat" or (render == "auto" and worker.text.chats)
    answer = answer_of(found.answer.answer)
    return cases.of_item(spec, item.ask, answer, chats=chats, text=worker.text)


async def _asked(
    worker: InferenceWorker, attempt: Attempt, chosen: Chosen, seed: int, folder: str
) -> Asked:
    tenant_id = attempt.claim.tenant_id
    files = await materials.brought(worker.db, worker.storage, tenant_id, [chosen], Path(folder))
    return await asyncio.to_thread(asked, chosen, files[0], seed, lambda: None)
