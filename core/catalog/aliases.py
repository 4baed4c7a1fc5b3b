"""Aliases: a tenant's own names for versions and served models, and their way back in one call."""

import re
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlalchemy.sql import ColumnElement

from core.catalog import subjects, versions
from core.catalog.models import Model
from core.catalog.stages import RETIRED, check_reason
from core.catalog.tables import Alias, AliasMove, Version
from core.errors import Conflict, InvalidInput, NotFound
from core.gate import door, doors, service
from core.gate.door import Force
from core.security.keys import Caller

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
PARAM = "name"


@dataclass(frozen=True, slots=True)
class _Target:
    """`version`: None for a served model."""

    name: str
    version: Version | None

    @property
    def version_id(self) -> str | None:
        return None if self.version is None else self.version.id


async def put(
    session: AsyncSession,
    caller: Caller,
    name: str,
    target: str,
    reason: str = "",
    force: Force | None = None,
) -> Alias:
    """Have `name` lead to a version (by name or id) or to a served model; where it leads already, nothing changes.

    Raises InvalidInput for a name that cannot be one, NotFound for a target that is not there, Conflict for one
    that is retired; through a name that the gate's policy has for a door, GateRefused for one without evidence,
    and Forbidden for a `force` by a key without the role.
    """
    await _check_name(session, name)
    check_reason(reason)
    await _alone(session, caller, name)
    wanted = await _target(session, caller, target)
    audit = await _admitted(session, caller, name, wanted, force)
    now = await _find(session, caller, name)
    if now is not None and now.target == wanted.name:
        return now
    return await _moved(session, caller, name, now, wanted, reason, audit=audit)


async def rollback(
    session: AsyncSession,
    caller: Caller,
    name: str,
    reason: str = "",
    force: Force | None = None,
) -> Alias:
    """Take back the last move of an alias that was not taken back yet: it leads to what it led to before.

    Called again, it goes one further back. Raises NotFound for an alias that never was, Conflict when there is
    nothing before, or it is retired by now; and as `put` does: what passed once must pass now.
    """
    check_reason(reason)
    await _alone(session, caller, name)
    last = await _last(session, caller, name)
    now = await _find(session, caller, name)
    if last is None and now is None:
        raise _unknown(name)
    if last is None or last.was is None:
        raise Conflict(
            f"The alias {name} led to nothing before; move it (PUT) or delete it instead.",
            param=PARAM,
            code="nothing_before",
        )
    wanted = await _target(session, caller, last.was)
    audit = await _admitted(session, caller, name, wanted, force)
    return await _moved(session, caller, name, now, wanted, reason, undoes=last.id, audit=audit)


async def lead(
    session: AsyncSession, caller: Caller, name: str, target: str, reason: str, audit: str | None
) -> Alias:
    """What control does with an alias whose target is withdrawn: have it lead to one that passes. Raises as `put`."""
    await _alone(session, caller, name)
    wanted = await _target(session, caller, target)
    await _admitted(session, caller, name, wanted, None)
    now = await _find(session, caller, name)
    return await _moved(session, caller, name, now, wanted, reason, audit=audit)


async def remove(session: AsyncSession, caller: Caller, name: str, reason: str = "") -> None:
    """Delete an alias; `rollback` brings it back. Raises NotFound."""
    check_reason(reason)
    await _alone(session, caller, name)
    now = await get(session, caller, name)
    _note(session, caller, name, now.target, None, reason)
    await session.execute(
        delete(Alias).where(Alias.tenant_id == caller.tenant_id, Alias.name == name)
    )
    await session.flush()


async def get(session: AsyncSession, caller: Caller, name: str) -> Alias:
    """Raises NotFound."""
    found = await _find(session, caller, name)
    if found is None:
        raise _unknown(name)
    return found


async def listed(session: AsyncSession, tenant_id: str) -> list[Alias]:
    """A tenant's, by name."""
    query = select(Alias).where(Alias.tenant_id == tenant_id).order_by(Alias.name)
    return list((await session.scalars(query)).all())


async def history(session: AsyncSession, caller: Caller, name: str) -> list[AliasMove]:
    """Every move of an alias, oldest first, also of one that is deleted. Raises NotFound for one that never was."""
    query = select(AliasMove).where(*_its(caller, name)).order_by(AliasMove.id)
    moves = list((await session.scalars(query)).all())
    if not moves:
        raise _unknown(name)
    return moves


async def _check_name(session: AsyncSession, name: str) -> None:
    if not re.fullmatch(NAME, name):
        raise InvalidInput(
            f"{PARAM} must have 1 to 64 letters, digits, dots, dashes and underscores, "
            "and begin with a letter or digit",
            param=PARAM,
        )
    if await session.scalar(select(Model.name).where(Model.name == name)):
        raise InvalidInput(
            f"{name} is the name of a served model; an alias must not stand before it", param=PARAM
        )


async def _alone(session: AsyncSession, caller: Caller, name: str) -> None:
    """One move of an alias at a time, whether it has a row already or not; until the transaction ends.

    Behind the gate's lock (core/gate/door.py has the order): its policy says whether this name is a door.
    """
    await door.lock(session, caller.tenant_id)
    line = f"alias {caller.tenant_id} {name}"
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(line, 0))))


async def _target(session: AsyncSession, caller: Caller, target: str) -> _Target:
    # A whole model of the catalog is served under its version's name: it is its tenant's, and no model for everybody.
    everyones = not target.startswith(versions.FT)
    if everyones and await session.scalar(select(Model.name).where(Model.name == target)):
        return _Target(target, None)
    # Locked, so that it is not retired between this look and the alias's row.
    found = await versions.get(session, caller, target, lock=True)
    if found.stage == RETIRED:
        raise Conflict(
            f"{found.name} is retired; name a version that is served.",
            param="model",
            code="model_retired",
        )
    return _Target(found.name, found)


async def _admitted(
    session: AsyncSession, caller: Caller, name: str, wanted: _Target, force: Force | None
) -> str | None:
    """The audit that lets it through; None: forced, or the name is no door."""
    policy = await service.current(session, caller.tenant_id)
    if not policy.policy.doors.gates(name):
        if force is not None:
            raise InvalidInput(
                f"force: the alias {name} is no door of the gate; it needs none", param="force"
            )
        return None
    what = (
        await subjects.of_served(session, wanted.name)
        if wanted.version is None
        else subjects.candidate(wanted.version)
    )
    passed = await door.admit(session, caller, what, doors.alias(name), force, policy=policy)
    if wanted.version is not None:
        wanted.version.withdrawn_at = None
    return passed.audit


async def _find(session: AsyncSession, caller: Caller, name: str) -> Alias | None:
    found: Alias | None = await session.scalar(
        select(Alias).where(Alias.tenant_id == caller.tenant_id, Alias.name == name)
    )
    return found


async def _last(session: AsyncSession, caller: Caller, name: str) -> AliasMove | None:
    """The newest move that is no rollback and that none has taken back."""
    later = aliased(AliasMove)
    query = (
        select(AliasMove)
        .where(
            *_its(caller, name),
            AliasMove.undoes.is_(None),
            ~select(later.id).where(later.undoes == AliasMove.id).exists(),
        )
        .order_by(AliasMove.id.desc())
        .limit(1)
    )
    return (await session.scalars(query)).one_or_none()


async def _moved(
    session: AsyncSession,
    caller: Caller,
    name: str,
    now: Alias | None,
    wanted: _Target,
    reason: str,
    undoes: int | None = None,
    audit: str | None = None,
) -> Alias:
    was = None if now is None else now.target
    _note(session, caller, name, was, wanted.name, reason, undoes, audit)
    row = {"target": wanted.name, "version_id": wanted.version_id, "moved_at": func.now()}
    await session.execute(
        insert(Alias)
        .values(tenant_id=caller.tenant_id, name=name, **row)
        .on_conflict_do_update(index_elements=[Alias.tenant_id, Alias.name], set_=row)
    )
    await session.flush()
    moved = await get(session, caller, name)
    await session.refresh(moved)
    return moved


def _note(
    session: AsyncSession,
    caller: Caller,
    name: str,
    was: str | None,
    target: str | None,
    reason: str,
    undoes: int | None = None,
    audit: str | None = None,
) -> None:
    session.add(
        AliasMove(
            tenant_id=caller.tenant_id, name=name, was=was, target=target,
            key_id=caller.key_id, reason=reason, undoes=undoes, audit=audit,
        )
    )  # fmt: skip


def _its(caller: Caller, name: str) -> tuple[ColumnElement[bool], ...]:
    return AliasMove.tenant_id == caller.tenant_id, AliasMove.name == name


def _unknown(name: str) -> NotFound:
    return NotFound(
        f"No alias {name[:64]!r}. List them: GET /v1/aliases.", param=PARAM, code="alias_not_found"
    )
