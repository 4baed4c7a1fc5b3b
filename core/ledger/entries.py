"""Reserve and settle: parts of the very statements that accept and end a job, and a batch's two moves.

`settled_at IS NULL` beside the compare-and-set that ends a job makes it exactly once: whoever loses the
race for the end returns no row in `moved`, and so settles nothing.
"""

from sqlalchemy import bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import Text

from core.catalog.prices import Prices


def prices(subject: str) -> str:
    """SQL of the prices (in, out, cached) that a job or batch was accepted at."""
    return f"(SELECT array[price_in, price_out, price_cached] FROM ledger WHERE id = {subject})"  # noqa: S608 - constants


def reserve(wished: str) -> str:
    """For `outbox.recorded(move, also)` of a statement that makes jobs and returns key_id, model, reserved_tokens.

    `wished`: SQL of rows (id, asked, cap, priced): the prompt's tokens as guessed, the most it may cost, and
    the served model whose prices it has.
    """
    return f""", reserved AS (
    INSERT INTO ledger (id, tenant_id, key_id, model, kind, price_in, price_out, price_cached,
                        reserved_tokens, reserved_cost)
    SELECT m.id, m.tenant_id, m.key_id, m.model, m.kind,
           coalesce(p.price_in, 0), coalesce(p.price_out, 0), coalesce(p.price_cached, 0), m.reserved_tokens,
           least(w.cap, 0.000001 * (
               least(w.asked, m.reserved_tokens) * coalesce(p.price_in, 0)
               + greatest(m.reserved_tokens - w.asked, 0) * coalesce(p.price_out, 0)))
    FROM moved m JOIN {wished} ON w.id = m.id LEFT JOIN models p ON p.name = w.priced
    WHERE m.kind <> 'batch'
)"""  # noqa: S608 - only constants are formatted in


# core.catalog.prices.Prices.cost in SQL, of a ledger row `l` and what it took, `s`.
_COST = """0.000001 * ((s.asked - s.cached) * l.price_in + s.cached * l.price_cached + s.said * l.price_out)"""

# For `outbox.recorded(move, also)` of a statement that ends jobs and returns their usage. What a cache
# answered took no engine and costs nothing.
SETTLE = f""", spent AS (
    SELECT id, coalesce((usage ->> 'prompt_tokens')::bigint, 0) AS asked,
           coalesce((usage ->> 'completion_tokens')::bigint, 0) AS said,
           coalesce((usage ->> 'cached_tokens')::bigint, 0) AS cached,
           coalesce((usage ->> 'engine_seconds')::float8, 0) AS engine_seconds,
           coalesce(usage ->> 'cache', 'none') AS cache
    FROM moved WHERE kind <> 'batch'
), settled AS (
    UPDATE ledger l SET settled_at = now(), prompt_tokens = s.asked, cached_tokens = s.cached,
        completion_tokens = s.said, engine_seconds = s.engine_seconds, cache = s.cache,
        cost = CASE WHEN s.cache = 'none' THEN {_COST} ELSE 0 END
    FROM spent s WHERE l.id = s.id AND l.settled_at IS NULL
)"""  # noqa: S608 - only constants are formatted in


_OPEN = text(
    """INSERT INTO ledger (id, tenant_id, key_id, model, kind, price_in, price_out, price_cached,
                           reserved_tokens, reserved_cost)
       SELECT b.id, b.tenant_id, b.key_id, b.model, 'batch', coalesce(p.price_in, 0),
              coalesce(p.price_out, 0), coalesce(p.price_cached, 0), 0, 0
       FROM batches b LEFT JOIN models p ON p.name = coalesce(b.runs_on, b.model) WHERE b.id = :id"""
)
_RESERVE = text(
    """UPDATE ledger l SET
           reserved_tokens = least(l_tokens, b.max_tokens_total),
           reserved_cost = least(0.000001 * l_tokens * greatest(l.price_in, l.price_out), b.max_cost)
       FROM batches b, cast(:tokens AS bigint) AS l_tokens
       WHERE l.id = :id AND b.id = :id AND l.settled_at IS NULL"""
)
_SETTLE = text(
    f"""UPDATE ledger l SET settled_at = now(), prompt_tokens = s.asked, cached_tokens = s.cached,
            completion_tokens = s.said, engine_seconds = s.engine_seconds, cost = {_COST}
        FROM (SELECT id, prompt_tokens AS asked, completion_tokens AS said, cached_tokens AS cached,
                     engine_seconds FROM batches WHERE id = :id) s
        WHERE l.id = s.id AND l.settled_at IS NULL"""  # noqa: S608 - only constants are formatted in
).bindparams(bindparam("id", type_=Text))


async def open_batch(session: AsyncSession, batch_id: str) -> None:
    """A row for a batch that was just made: its prices stand from here on."""
    await session.execute(_OPEN, {"id": batch_id})


async def reserve_batch(session: AsyncSession, batch_id: str, tokens: int) -> None:
    """Its lines are known: what they may take, each token at the dearer of the two prices."""
    await session.execute(_RESERVE, {"id": batch_id, "tokens": tokens})


_PRICES = text("SELECT price_in, price_out, price_cached FROM ledger WHERE id = :id")


async def prices_of(session: AsyncSession, subject: str) -> Prices:
    """At which a job or batch was accepted."""
    return Prices(*(await session.execute(_PRICES, {"id": subject})).one())


async def settle_batch(session: AsyncSession, batch_id: str) -> None:
    """What its recorded lines took, in the transaction that ends it. A second time changes nothing."""
    await session.execute(_SETTLE, {"id": batch_id})
