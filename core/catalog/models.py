"""Which models can be asked for: rows that workers write when they serve one, names that clients use."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Numeric, String, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.catalog.prices import FREE, Prices
from core.config import Settings
from core.db.base import Base
from core.errors import InvalidInput, NotFound

SIZES = ("1B", "7B", "30B")
# What a model is for, by the kind of its jobs.
WRITES, MEASURES = "inference", "embedding"
_PRICE = Numeric(18, 6)


class Model(Base):
    __tablename__ = "models"
    name: Mapped[str] = mapped_column(primary_key=True)
    source: Mapped[str]
    context: Mapped[int]
    kind: Mapped[str] = mapped_column(server_default=text("'inference'"))
    dimensions: Mapped[int] = mapped_column(server_default=text("0"))
    truncates: Mapped[bool] = mapped_column(server_default=text("false"))
    digest: Mapped[str] = mapped_column(
        String(64), server_default="", comment="SHA-256 of its files; empty: not known"
    )
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
    price_in: Mapped[Decimal] = mapped_column(_PRICE, server_default="0")
    price_out: Mapped[Decimal] = mapped_column(_PRICE, server_default="0")
    price_cached: Mapped[Decimal] = mapped_column(_PRICE, server_default="0")


@dataclass(frozen=True, slots=True)
class Served:
    """A model as the rest of core needs it. `source`: a local folder or hub id; `context`: tokens;
    `created`: Unix seconds, when a worker first served it; `kind`: of the jobs it is for. `dimensions` of
    its vectors, which may be shortened when it `truncates`: 0 for a model that writes. `digest`: of its files
    (core/catalog/digest.py)."""

    name: str
    source: str
    context: int
    created: int = 0
    kind: str = WRITES
    dimensions: int = 0
    truncates: bool = False
    prices: Prices = FREE
    digest: str = ""


async def register(session: AsyncSession, model: Served) -> None:
    """Say that a worker serves this model; called at each start of a worker."""
    row = {
        "source": model.source,
        "context": model.context,
        "kind": model.kind,
        "dimensions": model.dimensions,
        "truncates": model.truncates,
        "digest": model.digest,
        "seen_at": func.now(),
    }
    await session.execute(
        insert(Model)
        .values(name=model.name, **row)
        .on_conflict_do_update(index_elements=[Model.name], set_=row)
    )


async def listed(session: AsyncSession) -> list[Served]:
    rows = await session.execute(select(Model).order_by(Model.name))
    return [
        Served(
            m.name,
            m.source,
            m.context,
            int(m.created_at.timestamp()),
            m.kind,
            m.dimensions,
            m.truncates,
            Prices(m.price_in, m.price_out, m.price_cached),
            m.digest,
        )
        for m in rows.scalars()
    ]


async def price(session: AsyncSession, name: str, prices: Prices) -> None:
    """What jobs accepted from now on will cost. Raises NotFound for a model that no worker has served yet."""
    done = await session.execute(
        update(Model)
        .where(Model.name == name)
        .values(price_in=prices.ask, price_out=prices.say, price_cached=prices.cached)
        .returning(Model.name)
    )
    if done.one_or_none() is None:
        known = ", ".join([m.name for m in await listed(session)]) or "none yet: start a worker"
        raise NotFound(f"No model {name!r}. Models: {known}.", param="model")


def resolve(
    wanted: str, models: list[Served], settings: Settings, *, param: str, kind: str | None = WRITES
) -> Served:
    """The model behind a name or alias; the empty name is the default model of its kind.

    `kind`: of the jobs it must be for; None takes any. Raises InvalidInput naming `param` and listing what
    there is.
    """
    by_name = {m.name: m for m in models}
    default = settings.embedding_served_name if kind == MEASURES else settings.served_name
    aliases = dict.fromkeys(SIZES, settings.served_name) | settings.model_aliases
    name = aliases.get(wanted, wanted) if wanted else default
    fitting = ", ".join(sorted(m.name for m in models if kind in (None, m.kind)))
    if name not in by_name:
        raise InvalidInput(
            f"The model {wanted or name!r} is not served here. Models: "
            f"{fitting or 'none yet: start a worker'}.",
            param=param,
            code="model_not_found",
        )
    found = by_name[name]
    if kind not in (None, found.kind):
        raise InvalidInput(
            f"{found.name} is a model for {found.kind} jobs, not for {kind}. Models for it: "
            f"{fitting or 'none yet: start a worker'}.",
            param=param,
            code="model_not_suited",
        )
    return found
