"""What stands between a well-formed audit and 202, and what it will be able to see, told before it is run."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from api.deps import Parts
from core.audits import materials, planning, resolving
from core.audits.chosen import Asked, Chosen, asked
from core.audits.new import NewAudit
from core.audits.wishes import AuditWish
from core.catalog.models import Served
from core.errors import InvalidInput, Refused
from core.gate.policies import Policy
from core.jobs.kinds import AuditJob, JobSpec
from core.security.keys import Caller


async def admit_audit(
    parts: Parts, caller: Caller, spec: JobSpec, model: Served
) -> NewAudit | None:
    """What an audit is bound to; None for a job of another kind. Raises InvalidInput, NotFound naming the field."""
    if not isinstance(spec, AuditJob):
        return None
    found = await resolved(parts, caller, spec, model)
    spec.expect(found.tokens)
    return found


async def resolved(parts: Parts, caller: Caller, wish: AuditWish, model: Served) -> NewAudit:
    offer = await parts.offer(caller)
    async with parts.db.begin() as session:
        return await resolving.resolve(session, caller, wish, model, offer)


async def plan(parts: Parts, caller: Caller, wish: AuditWish) -> dict[str, Any]:
    """Read the suites as the job would, and say what so many items can show; nothing is recorded.

    Raises what admission and the suites' files raise, naming the field, file and line.
    """
    model = await parts.resolve(caller, wish.model, to_answer=False)
    found = await resolved(parts, caller, wish, model)
    chosen = [Chosen.of_json(one) for one in found.suites]
    # One after the other: reading a large file takes seconds of a core that answers everybody else, too.
    async with parts.planning:
        with tempfile.TemporaryDirectory(prefix="penstock-plan-") as folder:
            try:
                all_asked = await _read(parts, caller, chosen, found.settings["seed"], folder)
            except Refused as error:
                raise InvalidInput(error.message, param=error.param, code=error.code) from error
            policy = Policy.model_validate(found.policy) if found.policy else None
            told = await asyncio.to_thread(
                planning.planned, all_asked, policy, confidence=wish.confidence,
                paired=found.baseline is not None,
            )  # fmt: skip
    name, version = found.policy_name, found.policy_version
    against = found.baseline["model"] if found.baseline else None
    return {
        "object": "audit.plan",
        "model": found.model,
        "policy": f"{name}@{version}" if name else None,
        "baseline": against,
        "settings": found.settings,
        **told,
    }


async def _read(
    parts: Parts, caller: Caller, chosen: list[Chosen], seed: int, folder: str
) -> list[Asked]:
    files = await materials.brought(parts.db, parts.storage, caller.tenant_id, chosen, Path(folder))
    return [
        await asyncio.to_thread(asked, one, paths, seed, _nobody)
        for one, paths in zip(chosen, files, strict=True)
    ]


def _nobody() -> None:
    """Nobody waits for a sign of life."""
