"""Stages: how far a version is trusted, moved by one verb alone and each move kept with its author and reason."""

from typing import Literal, get_args

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.catalog import versions
from core.catalog.tables import Alias, StageMove, Version
from core.errors import Conflict, InvalidInput
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
    session: AsyncSession, caller: Caller, version: str, stage: str, reason: str = ""
) -> Version:
    """Give a version, by its name or id, another stage; the same again changes nothing.

    Every move there is goes through here, so that a gate before `production` is one condition in one place.
    Raises NotFound; InvalidInput for no stage; Conflict for a move that is not allowed, and for retiring what
    an alias leads to.
    """
    if stage not in MOVES:
        raise InvalidInput(
            f"stage must be one of {', '.join(MOVES)}, not {stage[:64]!r}", param="stage"
        )
    check_reason(reason)
    found = await versions.get(session, caller, version, lock=True)
    if found.stage == stage:
        return found
    if stage not in MOVES[found.stage]:
        allowed = ", ".join(MOVES[found.stage]) or "nowhere: train or register it again"
        raise Conflict(
            f"{found.name} is {found.stage}, and from there it can go to {allowed}.",
            param="stage",
            code="stage_not_allowed",
        )
    if stage == RETIRED:
        await _unnamed(session, found)
    session.add(
        StageMove(
            version_id=found.id, was=found.stage, stage=stage, key_id=caller.key_id, reason=reason
        )
    )
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
