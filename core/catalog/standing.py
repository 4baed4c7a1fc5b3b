"""Whole models that workers serve by a tenant's alias: which version that is now, and what shows for it meanwhile.

A worker announces the new version before it lets the old one go (workers/rolling.py): from then on the alias leads
to it. Until then the alias leads where it led before, so that nobody is sent to a model that no worker has.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import bindparam, delete, or_, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import Text

from core.catalog import gating, versions
from core.catalog.models import Model
from core.catalog.tables import Alias, Version
from core.errors import Refused
from core.gate import service
from core.security.keys import Tenant

PREFIX = "catalog:"


async def standing(session: AsyncSession, tenant: str, wanted: str) -> Version:
    """The whole model behind an alias, a version's name or its id. Raises Refused, saying what is wrong with it."""
    named = f"{PREFIX}{tenant}/{wanted}"
    owner = await session.scalar(
        select(Tenant.id).where(or_(Tenant.name == tenant, Tenant.id == tenant))
    )
    if owner is None:
        raise Refused(f"{named}: there is no tenant {tenant!r}; list them: penstock tenants list")
    alias = await session.scalar(
        select(Alias.target).where(Alias.tenant_id == owner, Alias.name == wanted)
    )
    found: Version | None = await session.scalar(
        select(Version).where(
            *versions.published(owner),
            or_(Version.name == (alias or wanted), Version.id == (alias or wanted)),
        )
    )
    if found is None:
        leads = f", where it leads ({alias})," if alias else ""
        raise Refused(f"{named}{leads} is no version of the catalog; see: penstock models list")
    if found.kind != "full":
        raise Refused(
            f"{named} is an adapter: every worker of {found.base} serves it; only a whole model has workers of its own"
        )
    if found.stage == versions.RETIRED or found.artifact is None:
        raise Refused(f"{named}: {found.name} is retired; move the alias to another version")
    # By its own name it may be served all the same: requests are refused, and an audit has somebody to ask.
    if alias is not None:
        held = await service.current(session, owner)
        refused = await gating.withheld(session, owner, held)
        if why := refused.get(wanted) or refused.get(found.name):
            raise Refused(f"{named}: {found.name} does not pass the gate any more: {why}")
    return found


_EARLIER = text(
    """SELECT m.name, m.was FROM alias_moves m JOIN aliases a USING (tenant_id, name)
       WHERE m.tenant_id = :tenant AND m.name = ANY(:names) AND m.was = ANY(:served)
       ORDER BY m.id DESC"""
).bindparams(bindparam("names", type_=ARRAY(Text)), bindparam("served", type_=ARRAY(Text)))


async def leading(
    session: AsyncSession, tenant_id: str, aliases: Sequence[Alias], served: Collection[str]
) -> dict[str, str]:
    """What a tenant's aliases lead to: the newest of their targets that some worker serves and the gate lets stand."""
    found = {alias.name: alias.target for alias in aliases}
    away = [name for name, target in found.items() if target not in served]
    if away:
        asked = {"tenant": tenant_id, "names": away, "served": list(served)}
        earlier: dict[str, list[str]] = {}
        for row in await session.execute(_EARLIER, asked):
            earlier.setdefault(row.name, []).append(row.was)
        for name, targets in earlier.items():
            if fit := await gating.fit(session, tenant_id, name, targets):
                found[name] = fit[0]
    return found


_LIVING = text(
    """SELECT id, host, pid FROM workers WHERE :queue = ANY (queues) AND NOT draining
         AND last_seen > now() - interval '5 s'"""
)
_LEFT = text(
    "SELECT count(*) FROM jobs WHERE queue = ANY(:queues) AND state IN ('queued', 'running')"
)


async def living(session: AsyncSession, queue: str) -> list[tuple[str, int]]:
    """Host and process id of each worker that takes from this queue."""
    return [(row.host, row.pid) for row in await session.execute(_LIVING, {"queue": queue})]


async def left(session: AsyncSession, queues: list[str]) -> int:
    """Jobs that have not ended in these queues."""
    statement = _LEFT.bindparams(bindparam("queues", type_=ARRAY(Text)))
    return int(await session.scalar(statement, {"queues": queues}) or 0)


async def withdraw(session: AsyncSession, name: str) -> None:
    """No worker serves it any more: it is not to be asked for."""
    await session.execute(delete(Model).where(Model.name == name))
