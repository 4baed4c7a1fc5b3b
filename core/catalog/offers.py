"""What one tenant may ask for: what workers serve, its own versions, and its names for both."""

from sqlalchemy.ext.asyncio import AsyncSession

from core.catalog import aliases, gating, models, standing, versions
from core.catalog.models import Offer, Served
from core.gate import service


async def offered(
    session: AsyncSession, tenant_id: str, served: list[Served] | None = None
) -> Offer:
    """`served`: what `models.listed` gave a moment ago."""
    known = await models.listed(session) if served is None else served
    # A whole model of the catalog is somebody's: it is listed as its tenant's version below.
    everyones = [model for model in known if not model.name.startswith(versions.FT)]
    found = everyones + await versions.served(session, tenant_id)
    names = await aliases.listed(session, tenant_id)
    led = await standing.leading(session, tenant_id, names, {model.name for model in found})
    held = await service.current(session, tenant_id)
    withheld = await gating.withheld(session, tenant_id, held)
    return Offer(found, led, withheld, held.policy.doors)
