"""Asking the gate without moving anything: would this model pass this door, and why not."""

from sqlalchemy.ext.asyncio import AsyncSession

from core.catalog import aliases, subjects, versions
from core.catalog.models import Model
from core.errors import InvalidInput
from core.gate import service, weighing
from core.gate.doors import PRODUCTION
from core.gate.evidence import Candidate
from core.gate.weighing import Answer
from core.security.keys import Caller

ALIAS = "alias:"


async def would_pass(
    session: AsyncSession, caller: Caller, name: str, at: str, policy: str = ""
) -> tuple[Candidate, Answer]:
    """`at`: "production" or "alias:<name>"; `policy`: another than the gate's, "name" or "name@2".

    An alias that is no door lets everything through. Raises NotFound, InvalidInput.
    """
    held = await service.policy_of(session, caller.tenant_id, policy)
    what = await candidate(session, caller, name)
    if at != PRODUCTION:
        kind, _, alias = at.partition(":")
        if kind != "alias" or not alias:
            raise InvalidInput(f'door must be "{PRODUCTION}" or "{ALIAS}<name>"', param="door")
        if not held.policy.doors.gates(alias):
            return what, Answer("PASS", held, None, (f"the alias {alias} is no door",))
    return what, await weighing.ask(session, caller.tenant_id, what, held)


async def candidate(session: AsyncSession, caller: Caller, name: str) -> Candidate:
    """A version by name or id, a served model, or what an alias of the tenant leads to. Raises NotFound."""
    if await session.get(Model, name) is not None and not name.startswith(versions.FT):
        return await subjects.of_served(session, name)
    for alias in await aliases.listed(session, caller.tenant_id):
        if alias.name == name:
            return await candidate(session, caller, alias.target)
    return subjects.candidate(await versions.get(session, caller, name))
