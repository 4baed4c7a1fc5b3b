"""Stages: how far a version is trusted, moved by one verb alone and each move kept with its author and reason."""

from typing import Literal, get_args

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.catalog import versions
from core.catalog.subjects import candidate
from core.catalog.tables import Alias, StageMove, Version
from core.errors import Conflict, InvalidInput
from core.gate import door, doors
from core.gate.door import Force
from core.security.keys import Caller

Stage = Literal["candidate", "staging", "production", "retired"]
CANDIDATE, STAGING, PRODUCTION, RETIRED = get_args(Stage)
# From each stage, where to. Nothing comes back from retirement: its bytes may be gone.
MOVES: dict[str, tuple[str, ...]] = {
    CANDIDATE: (STAGING, RETIRED),
    STAGING: (PRODUCTION, RETIRED),
    PRODUCTION: (STAGING, RETIRED),
    RETIRED: (),
}
MAX_REASON = 1000


async def move(
    session: AsyncSession,
    caller: Caller,
    version: str,
    stage: str,
    reason: str = "",
    force: Force | None = None,
) -> Version:
    """Give a version, by its name or id, another stage; the same again changes nothing, but production asks again.

    Every move there is goes through here, and production only through the gate (core/gate/door.py). Raises NotFound;
    InvalidInput for no stage; Conflict for a move that is not allowed, for retiring what an alias leads to, and
    GateRefused for production without evidence; Forbidden for a `force` by a key without the role.
    """
    if stage not in MOVES:
        raise InvalidInput(
            f"stage must be one of {', '.join(MOVES)}, not {stage[:64]!r}", param="stage"
        )
    check_reason(reason)
    if force is not None and stage != PRODUCTION:
        raise InvalidInput("force is for production; other stages need none", param="force")
    await door.lock(session, caller.tenant_id)
    found = await versions.get(session, caller, version, lock=True)
    if found.stage == stage and stage != PRODUCTION:
        return found
    if stage not in (found.stage, *MOVES[found.stage]):
        allowed = ", ".join(MOVES[found.stage]) or "nowhere: train or register it again"
        raise Conflict(
            f"{found.name} is {found.stage}, and from there it can go to {allowed}.",
            param="stage",
            code="stage_not_allowed",
        )
    if stage == RETIRED:
        await _unnamed(session, found)
    audit = None
    if stage == PRODUCTION:
        admitted = await door.admit(session, caller, candidate(found), doors.PRODUCTION, force)
        audit, found.withdrawn_at = admitted.audit, None
    return await _moved(session, caller, found, stage, reason, audit)


async def withdraw(
    session: AsyncSession, caller: Caller, found: Version, reason: str, audit: str | None
) -> None:
    """What control does with a version whose admission holds no longer: out of production, and not asked any more.

    To be called under the gate's lock, with the version's row locked (core/catalog/withdrawals.py).
    """
    found.withdrawn_at = func.now()
    if found.stage == PRODUCTION:
        await _moved(session, caller, found, STAGING, reason, audit)
    await session.flush()


async def _moved(
    session: AsyncSession,
    caller: Caller,
    found: Version,
    stage: str,
    reason: str,
    audit: str | None,
) -> Version:
    if found.stage != stage:
        session.add(
            StageMove(
                version_id=found.id, was=found.stage, stage=stage, key_id=caller.key_id,
                reason=reason, audit=audit,
            )
        )  # fmt: skip
        found.stage = stage
        if stage == RETIRED:
            found.retired_at = func.now()
    await session.flush()
    await session.refresh(found)
    return found


async def retire(session: AsyncSession, caller: Caller, version: str, reason: str) -> Version:
    """What deleting a version is: no longer served, its bytes gone after PENSTOCK_RETIRED_KEEP_D days.

    Raises Conflict for one in production, beside what `move` raises: that is never deleted by one careless call.
    """
    await door.lock(session, caller.tenant_id)
    found = await versions.get(session, caller, version, lock=True)
    if found.stage == PRODUCTION:
        raise Conflict(
            f"{found.name} is in production; move it to staging or to retired first "
            f"(POST /v1/models/{found.name}/stage).",
            param="model",
            code="model_in_use",
        )
    return await move(session, caller, found.id, RETIRED, reason)


async def history(session: AsyncSession, caller: Caller, version: str) -> list[StageMove]:
    """Every move of a version, oldest first. Raises NotFound."""
    found = await versions.get(session, caller, version)
    query = select(StageMove).where(StageMove.version_id == found.id).order_by(StageMove.id)
    return list((await session.scalars(query)).all())


def check_reason(reason: str) -> None:
    """Raises InvalidInput."""
    if len(reason) > MAX_REASON:
        raise InvalidInput(f"reason must have at most {MAX_REASON} characters", param="reason")
    if "\0" in reason:
        raise InvalidInput("reason must not hold a zero character", param="reason")


async def _unnamed(session: AsyncSession, version: Version) -> None:
    query = select(Alias.name).where(Alias.version_id == version.id).order_by(Alias.name)
    names = list((await session.scalars(query)).all())
    if names:
        raise Conflict(
            f"{version.name} is behind the alias {', '.join(names)}; move it to another version, "
            f"or delete it (PUT or DELETE /v1/aliases/{names[0]}).",
            param="model",
            code="model_in_use",
        )
