"""The client's verbs for batches: create, get, list, cancel, retry. A tenant sees its own and no others."""

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.batches import moves, tables
from core.batches.tables import Batch
from core.catalog.models import Served
from core.errors import Conflict, InvalidInput, NotFound, TooMany
from core.files.tables import File
from core.ids import new_id
from core.jobs.kinds import window_s
from core.jobs.submission import check_key
from core.ledger.entries import open_batch
from core.openai.answers import fingerprint as mark_of
from core.openai.batch_lines import ENDPOINTS
from core.security.keys import Caller

# OpenAI's limits; MAX_INPUTS: texts to embed, of all lines together.
MAX_LINES = 50_000
MAX_INPUTS = 50_000
MAX_BYTES = 200 * 1024 * 1024
MAX_WINDOW_S = 30 * 86400
_LATER = ("max_cost", "max_tokens_total")
# Batches take minutes: a client that is told to come back sooner would come back in vain.
OPEN_RETRY_S = 30.0
BATCH_ID = r"^batch_[0-9a-z]{26}$"


@dataclass(frozen=True, slots=True)
class NewBatch:
    """What a client asks for."""

    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None
    keep_s: int | None = None
    resume_from: str | None = None
    max_cost: Decimal | None = None
    max_tokens_total: int | None = None
    # Beside the body: part of what makes two requests the same.
    key: str | None = field(default=None, compare=False)

    def fingerprint(self) -> bytes:
        plain = {n: getattr(self, n) for n in self.__slots__ if n not in ("key", *_LATER)}
        # A key must survive an upgrade that adds a field.
        later = {n: str(getattr(self, n)) for n in _LATER if getattr(self, n) is not None}
        return hashlib.sha256(orjson.dumps(plain | later, option=orjson.OPT_SORT_KEYS)).digest()


def check(new: NewBatch, file: File) -> None:
    """Raises InvalidInput naming the field at fault."""
    check_key(new.key)
    if new.endpoint not in ENDPOINTS:
        raise InvalidInput(
            f"endpoint must be one of {', '.join(ENDPOINTS)}, not {new.endpoint[:64]!r}",
            param="endpoint",
        )
    try:
        seconds = window_s(new.completion_window)
    except ValueError as error:
        raise InvalidInput(f"completion_window {error}", param="completion_window") from error
    if seconds > MAX_WINDOW_S:
        raise InvalidInput(
            "completion_window is over 30d; give 30d or less", param="completion_window"
        )
    if file.purpose != "batch":
        raise InvalidInput(
            f"The file's purpose is {file.purpose!r}; send it again with purpose 'batch'",
            param="input_file_id",
        )
    if file.bytes > MAX_BYTES:
        raise InvalidInput(
            f"The file has {file.bytes} bytes and a batch takes {MAX_BYTES}; split it",
            param="input_file_id",
        )


_OPEN = text(
    """SELECT count(*) FROM (SELECT FROM batches WHERE tenant_id = :tenant
           AND status IN ('validating', 'in_progress', 'finalizing', 'cancelling') LIMIT :most) open"""
)


async def check_open(
    session: AsyncSession, caller: Caller, most: int, key: str | None = None
) -> None:
    """Raises TooMany when so many batches of the tenant are open, and `key` has made none of them.

    Held until the transaction ends: two at once cannot both be the last that is let in.
    """
    await session.execute(
        text("SELECT FROM tenants WHERE id = :tenant FOR NO KEY UPDATE"),
        {"tenant": caller.tenant_id},
    )
    found = {"tenant": caller.tenant_id, "most": most}
    if (await session.scalar(_OPEN, found) or 0) < most:
        return
    if not await known(session, caller, key):
        raise TooMany(
            f"{most} of your batches have not ended, and no more may be open "
            "(PENSTOCK_OPEN_BATCHES_PER_TENANT). Wait for one to end, or cancel one",
            code="too_many_batches",
            retry_after_s=OPEN_RETRY_S,
        )


async def create(
    session: AsyncSession, caller: Caller, new: NewBatch, model: Served, named: str = ""
) -> tuple[Batch, bool]:
    """A batch about to be validated, and whether its key had already made it. `named`: what its first line calls
    `model`, an alias maybe; empty when it names none that there is.

    Raises Conflict for a key used with another body, NotFound for a `resume_from` that is not there.
    """
    if new.resume_from is not None:
        await get(session, caller, new.resume_from, param="resume_from")
    values = {
        "id": new_id("batch"), "tenant_id": caller.tenant_id, "key_id": caller.key_id,
        "endpoint": new.endpoint,
        "model": model.name, "mark": mark_of(model), "input_file_id": new.input_file_id,
        "named": named or None, "runs_on": model.runs_on or None, "adapter": model.adapter or None,
        "completion_window": new.completion_window, "status": tables.VALIDATING,
        "labels": new.metadata, "keep_s": new.keep_s, "resume_from": new.resume_from,
        "max_cost": new.max_cost, "max_tokens_total": new.max_tokens_total,
        "deadline": func.now() + timedelta(seconds=window_s(new.completion_window)),
        "idempotency_key": new.key, "fingerprint": new.fingerprint() if new.key else None,
    }  # fmt: skip
    made = await session.scalar(
        insert(Batch).values(**values).on_conflict_do_nothing().returning(Batch)
    )
    if made is not None:
        await open_batch(session, made.id)
        await moves.step(session, made, "validate")
        return made, False
    first = await session.scalar(
        select(Batch).where(
            Batch.tenant_id == caller.tenant_id, Batch.idempotency_key == new.key
        )
    )  # fmt: skip
    if first is None or first.fingerprint != new.fingerprint():
        raise Conflict(
            "This Idempotency-Key was used with another body; use a new key for a new batch",
            param="Idempotency-Key",
            code="idempotency_key_reused",
        )
    return first, True


async def known(session: AsyncSession, caller: Caller, key: str | None) -> bool:
    """Whether this idempotency key has made a batch."""
    if key is None:
        return False
    wanted = select(Batch.id).where(
        Batch.tenant_id == caller.tenant_id, Batch.idempotency_key == key
    )
    return await session.scalar(wanted) is not None


async def get(
    session: AsyncSession, caller: Caller, batch_id: str, *, param: str = "batch_id"
) -> Batch:
    """Raises NotFound for one that is not there or not this tenant's: the two look the same."""
    found = await session.scalar(
        select(Batch).where(Batch.id == batch_id, Batch.tenant_id == caller.tenant_id)
        .execution_options(populate_existing=True)
    )  # fmt: skip
    if found is None:
        raise NotFound(
            f"No batch {batch_id[:64]!r}. Check the id and the key's tenant.", param=param
        )
    return found


async def listed(
    session: AsyncSession, caller: Caller, *, after: str | None = None, limit: int = 20
) -> tuple[list[Batch], bool]:
    """Newest first, from below `after`. Returns the page and whether there is more."""
    query = select(Batch).where(Batch.tenant_id == caller.tenant_id).order_by(Batch.id.desc())
    if after is not None:
        query = query.where(Batch.id < after)
    page = list((await session.scalars(query.limit(limit + 1))).all())
    return page[:limit], len(page) > limit


async def cancel(session: AsyncSession, caller: Caller, batch_id: str) -> Batch:
    """Stop a batch; what it has is put into its files. Cancelling twice is not an error.

    Raises NotFound, or Conflict when it has ended otherwise or is about to.
    """
    await get(session, caller, batch_id)
    batch = await moves.locked(session, batch_id)
    assert batch is not None, "batches are not deleted"
    if batch.status in (tables.VALIDATING, tables.IN_PROGRESS):
        await moves.finalize(session, batch, tables.CANCELLED)
    elif batch.status not in (tables.CANCELLING, tables.CANCELLED):
        raise Conflict(f"The batch is {batch.status}; nothing to cancel", code="batch_ended")
    return await get(session, caller, batch_id)


_AGAIN = text(
    """INSERT INTO batch_lines (batch_id, line, custom_id, start, size, hash, tokens)
       SELECT :new, line, custom_id, start, size, hash, tokens FROM batch_lines
       WHERE batch_id = :old AND state <> 'done' RETURNING line"""
)


async def retry(session: AsyncSession, caller: Caller, batch_id: str) -> Batch:
    """A new batch of the lines that failed or were never run, under their own custom_ids and a cap as large.

    Raises NotFound, Conflict for a batch that has not ended or has no such line.
    """
    old = await get(session, caller, batch_id)
    if old.status not in tables.ENDED:
        raise Conflict(
            f"The batch is {old.status}; retry it once it has ended", code="batch_not_ended"
        )
    new = Batch(
        id=new_id("batch"), tenant_id=old.tenant_id, key_id=caller.key_id,
        endpoint=old.endpoint, model=old.model,
        named=old.named, runs_on=old.runs_on, adapter=old.adapter,
        mark=old.mark, input_file_id=old.input_file_id, status=tables.VALIDATING,
        completion_window=old.completion_window, labels=old.labels, keep_s=old.keep_s,
        retry_of=old.id, max_cost=old.max_cost, max_tokens_total=old.max_tokens_total,
        completed=0, failed=0, reused=0, tip=0, speed=0.0,
        deadline=func.now() + timedelta(seconds=window_s(old.completion_window)),
    )  # fmt: skip
    session.add(new)
    await session.flush()
    new.total = len((await session.execute(_AGAIN, {"new": new.id, "old": old.id})).all())
    if not new.total:
        raise Conflict("No line of this batch failed; nothing to retry", code="nothing_to_retry")
    await open_batch(session, new.id)
    await moves.begin(session, new)
    return await get(session, caller, new.id)


def progress(batch: Batch) -> dict[str, Any]:
    """Lines a second as measured, and the seconds that the rest will take at that."""
    left = batch.total - batch.completed - batch.failed
    running = batch.status == tables.IN_PROGRESS and batch.speed > 0
    return {
        "lines_per_s": round(batch.speed, 2) if running else None,
        "eta_s": round(left / batch.speed, 1) if running else None,
    }
