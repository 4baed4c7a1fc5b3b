"""Tenants and their API keys: made once, shown once, stored as a hash, found again in constant time."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import CheckConstraint, ForeignKey, LargeBinary, String, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, Mapped, mapped_column

from core.config import MAX_RATE
from core.db.base import Base
from core.errors import Forbidden, InvalidInput, NotFound, Unauthenticated
from core.ids import new_id

PREFIX = "sk-penstock-"
MIN_WEIGHT, MAX_WEIGHT = 0.01, 1000.0
Unit = Literal["requests", "tokens"]
# What a key may do beyond the rest: accept a risk by name (force the gate, change its policy, lower the guard).
RISK_OWNER = "risk-owner"
ROLES = (RISK_OWNER,)


@dataclass(frozen=True, slots=True)
class Rate:
    """What may be taken a minute. None: as the settings say; 0: without a limit."""

    requests: int | None = None
    tokens: int | None = None


BY_SETTINGS = Rate()


class Tenant(Base):
    __tablename__ = "tenants"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    requests_per_minute: Mapped[int | None]
    tokens_per_minute: Mapped[int | None]
    weight: Mapped[float] = mapped_column(
        server_default="1", comment="its share of a queue beside the others' weights"
    )
    __table_args__ = (CheckConstraint("weight > 0", name="weight"),)


class ApiKey(Base):
    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    revoked_at: Mapped[datetime | None]
    requests_per_minute: Mapped[int | None]
    tokens_per_minute: Mapped[int | None]
    roles: Mapped[list[str]] = mapped_column(
        server_default="{}", comment="what its holder may do beyond the rest"
    )


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated side of a request; every verb that reads or writes rows takes one."""

    tenant_id: str
    key_id: str
    rate: Rate = BY_SETTINGS
    tenant_rate: Rate = BY_SETTINGS
    roles: frozenset[str] = frozenset()

    def must_be(self, role: str, to: str) -> None:
        """Raises Forbidden unless the key has this role. `to`: what for, in words."""
        if role not in self.roles:
            raise Forbidden(
                f"To {to} takes a key with the role {role}. Make one: penstock keys create --role {role}",
                code="role_required",
            )


def _hash(secret: str) -> bytes:
    # The secret has 256 random bits, so a plain hash is as strong as a slow one and costs microseconds.
    return hashlib.sha256(secret.encode()).digest()


async def create(
    session: AsyncSession,
    *,
    tenant: str,
    name: str,
    rate: Rate = BY_SETTINGS,
    roles: Sequence[str] = (),
) -> tuple[ApiKey, str]:
    """Make a key for `tenant` (made too when new). Returns the row and the key itself, seen only here."""
    for field, value in (("tenant", tenant), ("name", name)):
        if not 1 <= len(value) <= 64:
            raise InvalidInput(f"{field} must have 1 to 64 characters", param=field)
    if unknown := sorted(set(roles) - set(ROLES)):
        raise InvalidInput(
            f"role does not know {unknown[0][:64]!r}; choose from {', '.join(ROLES)}", param="role"
        )
    limited = _columns({"requests": rate.requests, "tokens": rate.tokens})
    owner = await session.scalar(select(Tenant).where(Tenant.name == tenant))
    if owner is None:
        owner = Tenant(id=new_id("ten"), name=tenant)
        session.add(owner)
        await session.flush()
    secret = secrets.token_urlsafe(32)
    key = ApiKey(
        id=new_id("key"), tenant_id=owner.id, name=name, hash=_hash(secret),
        roles=sorted(set(roles)), **limited,
    )  # fmt: skip
    session.add(key)
    await session.flush()
    return key, f"{PREFIX}{key.id.removeprefix('key_')}-{secret}"


async def authenticate(session: AsyncSession, presented: str) -> Caller:
    """The caller behind a presented key. Raises Unauthenticated, always with the same words."""
    key_id, _, secret = presented.removeprefix(PREFIX).partition("-")
    row = (
        await session.execute(
            select(
                ApiKey.id,
                ApiKey.tenant_id,
                ApiKey.hash,
                *_rates(ApiKey),
                *_rates(Tenant),
                ApiKey.roles,
            )
            .join(Tenant, Tenant.id == ApiKey.tenant_id)
            .where(ApiKey.id == f"key_{key_id}", ApiKey.revoked_at.is_(None))
        )
    ).one_or_none()
    # Compare even when there is no such key: the time must not tell whether the id exists.
    known = row.hash if row is not None else bytes(32)
    if not hmac.compare_digest(known, _hash(secret)) or row is None:
        raise Unauthenticated("The API key is unknown or revoked. Make one: penstock keys create")
    return Caller(row.tenant_id, row.id, Rate(*row[3:5]), Rate(*row[5:7]), frozenset(row.roles))


async def revoke(session: AsyncSession, key_id: str) -> None:
    """Raises NotFound for a key that does not exist or is already revoked."""
    done = await session.execute(
        update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(ApiKey.id)
    )
    if done.one_or_none() is None:
        raise NotFound(f"No active key {key_id}. List them: penstock keys list", param="key_id")


async def listed(session: AsyncSession) -> list[tuple[ApiKey, str]]:
    """Every key with its tenant's name, oldest first."""
    rows = await session.execute(
        select(ApiKey, Tenant.name).join(Tenant, Tenant.id == ApiKey.tenant_id).order_by(ApiKey.id)
    )
    return [(key, name) for key, name in rows]


def _rates(of: type[ApiKey | Tenant]) -> tuple[InstrumentedAttribute[int | None], ...]:
    return of.requests_per_minute, of.tokens_per_minute


def _columns(rate: Mapping[Unit, int | None]) -> dict[str, int | None]:
    """Raises InvalidInput for what is no rate."""
    for unit, value in rate.items():
        if value is not None and not 0 <= value <= MAX_RATE:
            raise InvalidInput(
                f"{unit}_per_minute must be 0 (no limit) to {MAX_RATE}, not {value}",
                param=f"{unit}_per_minute",
            )
    return {f"{unit}_per_minute": value for unit, value in rate.items()}


async def limit_key(session: AsyncSession, key_id: str, rate: Mapping[Unit, int | None]) -> None:
    """Change what a key may take a minute; a unit that is not in `rate` stays, None is the settings' default.

    Raises InvalidInput for what is no rate, NotFound for a key that does not exist or is revoked.
    """
    found = await session.execute(
        update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
        .values(_columns(rate))
        .returning(ApiKey.id)
    )
    if found.one_or_none() is None:
        raise NotFound(f"No active key {key_id}. List them: penstock keys list", param="key_id")


async def limit_tenant(session: AsyncSession, name: str, rate: Mapping[Unit, int | None]) -> None:
    """`limit_key` for all keys of a tenant together."""
    found = await session.execute(
        update(Tenant).where(Tenant.name == name).values(_columns(rate)).returning(Tenant.id)
    )
    if found.one_or_none() is None:
        raise NotFound(f"No tenant {name}. List them: penstock tenants list", param="tenant")


async def weigh(session: AsyncSession, tenant: str, weight: float) -> None:
    """Give a tenant its share of every queue beside the others' weights, from the next job on.

    Raises NotFound for a name that no tenant has, InvalidInput for a weight out of range.
    """
    if not MIN_WEIGHT <= weight <= MAX_WEIGHT:  # so NaN is refused, too
        raise InvalidInput(
            f"weight must be between {MIN_WEIGHT:g} and {MAX_WEIGHT:g}, not {weight:g}; 1 is everybody's at first",
            param="weight",
        )
    done = await session.execute(
        update(Tenant).where(Tenant.name == tenant).values(weight=weight).returning(Tenant.id)
    )
    if done.one_or_none() is None:
        raise NotFound(
            f"No tenant {tenant[:64]!r}. List them: penstock tenants list", param="tenant"
        )


async def tenants(session: AsyncSession) -> list[tuple[Tenant, int]]:
    """Every tenant by name, with how many keys it has that work."""
    working = func.count(ApiKey.id).filter(ApiKey.revoked_at.is_(None))
    rows = await session.execute(
        select(Tenant, working)
        .outerjoin(ApiKey, ApiKey.tenant_id == Tenant.id)
        .group_by(Tenant.id)
        .order_by(Tenant.name)
    )
    return [(tenant, count) for tenant, count in rows]
