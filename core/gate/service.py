"""A tenant's verbs for its policies, and which of them its gate goes by."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, InvalidInput, NotFound
from core.gate.policies import BUILTIN, NAME, Bounds, Check, Policy, builtin
from core.gate.tables import Gate, PolicyRow
from core.measures.metric import Metric
from core.security.keys import Caller

BUILTIN_VERSION = 1


@dataclass(frozen=True, slots=True)
class Held:
    """A policy by its name and number."""

    name: str
    version: int
    policy: Policy

    @property
    def digest(self) -> str:
        return self.policy.digest

    @property
    def called(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Known:
    """A metric, what its suite is called and its version now (core/audits/suites/listed.py)."""

    suite: str
    version: str
    metric: Metric


DEFAULT = Held(BUILTIN, BUILTIN_VERSION, builtin())


async def policy_of(session: AsyncSession, tenant_id: str, wanted: str = "") -> Held:
    """A tenant's policy: "" is the one of its gate, "name" the newest of that name, "name@3" that one.

    Raises NotFound; InvalidInput for what can be no policy's name.
    """
    if not wanted:
        return await current(session, tenant_id)
    name, at, number = wanted.partition("@")
    if not re.fullmatch(NAME, name) or (at and not re.fullmatch(r"[1-9][0-9]{0,8}", number)):
        raise InvalidInput(
            f'policy must be a name, or a name and a number such as "{BUILTIN}@1"', param="policy"
        )
    if name == BUILTIN and number in ("", str(BUILTIN_VERSION)):
        return DEFAULT
    query = select(PolicyRow).where(PolicyRow.tenant_id == tenant_id, PolicyRow.name == name)
    if number:
        query = query.where(PolicyRow.version == int(number))
    row = await session.scalar(query.order_by(PolicyRow.version.desc()).limit(1))
    if row is None:
        raise NotFound(
            f"No policy {wanted[:80]!r}. List them: GET /v1/policies.",
            param="policy",
            code="policy_not_found",
        )
    return held(row)


async def current(session: AsyncSession, tenant_id: str) -> Held:
    """What a tenant's gate goes by."""
    row = await session.scalar(
        select(PolicyRow)
        .join(
            Gate,
            (Gate.tenant_id == PolicyRow.tenant_id)
            & (Gate.policy_name == PolicyRow.name)
            & (Gate.policy_version == PolicyRow.version),
        )
        .where(Gate.tenant_id == tenant_id)
    )
    return DEFAULT if row is None else held(row)


async def make(
    session: AsyncSession, caller: Caller, name: str, policy: Policy, known: Mapping[str, Known]
) -> PolicyRow:
    """A new version of a policy; the newest again when it says the very same.

    `known`: the suites by metric. What a check leaves open of its suite is written into it, so that a suite that
    changes does not change what a policy means. Raises InvalidInput for a check of no suite; Conflict for the name
    of the one that Penstock comes with.
    """
    if not re.fullmatch(NAME, name):
        raise InvalidInput(
            "name must have 1 to 64 letters, digits, dots, dashes and underscores, and begin with a letter or digit",
            param="name",
        )
    if name == BUILTIN:
        raise Conflict(
            f"{BUILTIN} comes with Penstock and cannot be changed; give yours another name.",
            param="name",
            code="policy_builtin",
        )
    policy = filled(policy, known)
    line = f"policy {caller.tenant_id} {name}"
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(line, 0))))
    last: PolicyRow | None = await session.scalar(
        select(PolicyRow)
        .where(PolicyRow.tenant_id == caller.tenant_id, PolicyRow.name == name)
        .order_by(PolicyRow.version.desc())
        .limit(1)
    )
    if last is not None and last.digest == policy.digest:
        return last
    row = PolicyRow(
        tenant_id=caller.tenant_id, name=name, version=1 if last is None else last.version + 1,
        body=policy.data(), digest=policy.digest, key_id=caller.key_id,
    )  # fmt: skip
    session.add(row)
    await session.flush()
    await session.refresh(row)
    return row


async def listed(session: AsyncSession, tenant_id: str, name: str = "") -> list[PolicyRow]:
    """A tenant's own, by name, newest first; with `name` the versions of that one."""
    query = select(PolicyRow).where(PolicyRow.tenant_id == tenant_id)
    if name:
        query = query.where(PolicyRow.name == name)
    return list(
        (await session.scalars(query.order_by(PolicyRow.name, PolicyRow.version.desc()))).all()
    )


async def go_by(session: AsyncSession, caller: Caller, policy: Held, reason: str) -> None:
    """Make it the gate's. What stands is looked at first: core/catalog/gating.py calls this, and nobody else."""
    row = {
        "policy_name": policy.name,
        "policy_version": policy.version,
        "key_id": caller.key_id,
        "reason": reason,
        "set_at": func.now(),
    }
    if policy == DEFAULT:
        found = await session.get(Gate, caller.tenant_id)
        if found is not None:
            await session.delete(found)
    else:
        await session.execute(
            insert(Gate)
            .values(tenant_id=caller.tenant_id, **row)
            .on_conflict_do_update(index_elements=[Gate.tenant_id], set_=row)
        )
    await session.flush()


def filled(policy: Policy, known: Mapping[str, Known]) -> Policy:
    """With the suite and its version in every check. Raises InvalidInput naming the check."""
    checks = tuple(_filled(k, one, known) for k, one in enumerate(policy.checks))
    for number, check in enumerate(checks):
        other = next((one for one in checks[:number] if _asks_otherwise(one, check)), None)
        if other is not None:
            raise InvalidInput(
                f"checks.{number}: {check.id} asks {check.suite} for other files, options or items than {other.id}; "
                "an audit asks a suite once, so that no model could pass both",
                param=f"checks.{number}",
            )
    return policy.model_copy(update={"checks": checks})


def _asks_otherwise(one: Check, other: Check) -> bool:
    asks = [(check.files, check.options, check.items) for check in (one, other)]
    return one.suite == other.suite != "" and asks[0] != asks[1]


def _filled(number: int, check: Check, known: Mapping[str, Known]) -> Check:
    of = known.get(check.metric)
    if of is None and not check.suite:
        raise InvalidInput(
            f"checks.{number}.metric: no suite has {check.metric!r}; see GET /v1/audits/suites, or name the suite "
            "whose uploaded file or task has it",
            param=f"checks.{number}.metric",
        )
    if of is None or check.suite not in ("", of.suite):
        return check
    if why := open_to_all(check.limit, of.metric):
        raise InvalidInput(f"checks.{number}.limit: {why}", param=f"checks.{number}.limit")
    return check.model_copy(
        update={"suite": of.suite, "suite_version": check.suite_version or of.version}
    )


def open_to_all(limit: Bounds, metric: Metric) -> str:
    """Why a limit guards nothing of this metric; empty: it does. A partner that nothing can miss is no partner."""
    low = -math.inf if metric.low is None else metric.low
    high = math.inf if metric.high is None else metric.high
    if metric.better == "lower" and limit.min is not None:
        return f"less of {metric.name} is better; give max, not min"
    if metric.better == "higher" and limit.max is not None:
        return f"more of {metric.name} is better; give min, not max"
    away = math.inf if limit.abs_max is None else limit.abs_max
    reached = (
        (limit.max is not None and limit.max >= high)
        or (limit.min is not None and limit.min <= low)
        or (
            limit.abs_max is not None and limit.center - away <= low and high <= limit.center + away
        )
        or (limit.noninferior is not None and limit.noninferior >= high - low)
    )
    return (
        f"no figure of {metric.name} is beyond {limit}, for it is within {low:g} and {high:g}"
        if reached
        else ""
    )


def held(row: PolicyRow) -> Held:
    return Held(row.name, row.version, Policy.model_validate(row.body))
