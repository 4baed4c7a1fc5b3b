"""Which models can be asked for: rows that workers write when they serve one, names that clients use."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Numeric, String, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.catalog.prices import FREE, Prices
from core.config import Settings
from core.db.base import Base
from core.errors import InvalidInput, NotFound, Refused
from core.gate.doors import Doors

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
    (core/catalog/digest.py). `runs_on`: the served model whose queue and workers answer for it; empty: itself.
    `adapter`: the digest of the artefact that is put on top of that model."""

    name: str
    source: str
    context: int
    created: int = 0
    kind: str = WRITES
    dimensions: int = 0
    truncates: bool = False
    prices: Prices = FREE
    digest: str = ""
    runs_on: str = ""
    adapter: str = ""


async def register(session: AsyncSession, model: Served) -> None:
    """Say that a worker serves this model; called at each start of a worker.

    Raises Refused while a living worker serves other files under this name: whoever asks for it would be
    answered by the one or the other, and versions, caches and fingerprints go by one digest.
    """
    if model.digest:
        await _same_files(session, model)
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


# A worker registers before its lock is there to be seen.
_BETWEEN_S = 5
_OTHERS = text(
    """SELECT m.digest, (
           SELECT w.id || ' on ' || w.host FROM workers w
           WHERE :queue = ANY (w.queues) AND NOT w.draining AND EXISTS (
               SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted
                  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                  AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended(w.id, 0))
           LIMIT 1) AS living,
           m.seen_at > now() - make_interval(secs => :between) AS fresh
       FROM models m WHERE m.name = :name AND m.digest NOT IN ('', :digest) FOR UPDATE"""
)


async def _same_files(session: AsyncSession, model: Served) -> None:
    asked = {
        "name": model.name,
        "digest": model.digest,
        # As its jobs are queued (core/jobs/kinds.py): any class will do.
        "queue": f"{model.kind}.interactive.{model.name}",
        "between": _BETWEEN_S,
    }
    other = (await session.execute(_OTHERS, asked)).one_or_none()
    if other is not None and (other.living or other.fresh):
        who = f"worker {other.living}" if other.living else "a worker that has just started"
        raise Refused(
            f"{model.name} is served by {who} with other files (SHA-256 {other.digest}, here {model.digest}). "
            "Stop that worker first, or give this model another name (PENSTOCK_MODEL_NAME).",
            code="model_conflict",
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


@dataclass(frozen=True, slots=True)
class Offer:
    """What one tenant may ask for: what workers serve and its own versions; `aliases`: its own names for them.

    `withheld`: names of both that must not answer, and why: the gate's (core/catalog/gating.py). They are offered all
    the same to who measures or trains them. `doors`: of the tenant's gate.
    """

    models: list[Served]
    aliases: Mapping[str, str] = field(default_factory=dict)
    withheld: Mapping[str, str] = field(default_factory=dict)
    doors: Doors | None = None

    def check(self, wanted: str, found: str, *, param: str) -> None:
        """Raises InvalidInput when `wanted`, or the model called `found` that it stands for, must not answer."""
        gated = self.doors is not None and self.doors.gates(wanted)
        if gated and self.aliases.get(wanted, found) != found:
            # It was moved since, or a worker serves a model that is called like the alias.
            raise InvalidInput(
                f"{wanted} is an alias that leads to {self.aliases[wanted]} through your gate, and {found} was not let "
                f"in under that name; ask for {self.aliases[wanted]}.",
                param=param,
                code="model_withdrawn",
            )
        if gated and wanted not in ("", found, *self.aliases):
            raise InvalidInput(
                f"{wanted} is a name of the settings and a door of your gate, where nothing was let in for you; "
                f"make an alias of your own (PUT /v1/aliases/{wanted}).",
                param=param,
                code="model_withdrawn",
            )
        for name in (wanted, found):
            if why := self.withheld.get(name):
                raise InvalidInput(
                    f"{name} was taken out of use: {why}. It answers again once it passes the gate "
                    "(penstock gate check); ask for another model until then.",
                    param=param,
                    code="model_withdrawn",
                )

    def named(self, name: str) -> Served | None:
        return next((model for model in self.models if model.name == name), None)

    def names(self, settings: Settings) -> dict[str, list[str]]:
        """The aliases that lead to each name."""
        found: dict[str, list[str]] = {}
        for alias, target in sorted((known_aliases(settings) | dict(self.aliases)).items()):
            found.setdefault(target, []).append(alias)
        return found


def known_aliases(settings: Settings) -> dict[str, str]:
    """Those of the settings, which every tenant may use."""
    return dict.fromkeys(SIZES, settings.served_name) | settings.model_aliases


def resolve(
    wanted: str,
    models: list[Served],
    settings: Settings,
    *,
    param: str,
    kind: str | None = WRITES,
    aliases: Mapping[str, str] | None = None,
) -> Served:
    """The model behind a name or alias; the empty name is the default model of its kind.

    `kind`: of the jobs it must be for; None takes any. `aliases`: the tenant's own, which win over those of the
    settings and never over a model's name. Raises InvalidInput naming `param` and listing what there is.
    """
    by_name = {m.name: m for m in models}
    default = settings.embedding_served_name if kind == MEASURES else settings.served_name
    theirs = {name: to for name, to in (aliases or {}).items() if name not in by_name}
    known = known_aliases(settings) | theirs
    name = known.get(wanted, wanted) if wanted else default
    fitting = ", ".join(sorted(m.name for m in models if kind in (None, m.kind)))
    if name not in by_name:
        leads = f", where {wanted!r} leads," if name != wanted and wanted else ""
        raise InvalidInput(
            f"The model {name!r}{leads} is not served here. Models: "
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
