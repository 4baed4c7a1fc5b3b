"""The first step: the input file's lines checked as they stream in, and put into Postgres by the page."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text

from core.batches import lines, moves, tables
from core.batches.lines import NewLine
from core.batches.service import MAX_INPUTS, MAX_LINES
from core.batches.tables import Batch
from core.catalog import models
from core.errors import InvalidInput, NotFound, Refused
from core.files.service import key_of
from core.jobs.batch import BatchSpec
from core.openai.batch_lines import EMBEDDINGS, BadLine, Line, parsed
from core.storage.seam import Storage
from workers.context import Attempt
from workers.process import ModelWorker

PAGE = 500
# How many wrong lines are told of: a file with more has one mistake many times.
MAX_ERRORS = 100
# Lines checked before the loop turns: a client that waits must not wait for us.
TURN = 25


@dataclass
class Findings:
    """What was found so far; a page of good lines at most is in memory."""

    number: int = 0
    inputs: int = 0
    model: str | None = None
    page: list[NewLine] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)

    def wrong(self, code: str, message: str, param: str | None, line: int | None) -> None:
        if len(self.errors) < MAX_ERRORS:
            self.errors.append({"code": code, "message": message, "param": param, "line": line})

    @property
    def enough(self) -> bool:
        many = self.number > MAX_LINES or self.inputs > MAX_INPUTS
        return many or len(self.errors) >= MAX_ERRORS


async def validate(worker: ModelWorker, attempt: Attempt, spec: BatchSpec) -> None:
    """Ends with the batch in progress, its shards queued; or failed, each wrong line named."""
    batch = await _fresh(worker, attempt, spec.batch_id)
    if batch is None:
        return
    found = Findings()
    try:
        async for start, raw in split(
            worker.storage, batch.input_file_id, worker.settings.max_body_bytes
        ):
            found.number += 1
            _look(worker, batch, found, start, raw)
            if found.number % TURN == 0:
                await asyncio.sleep(0)
            if len(found.page) >= PAGE:
                await _put(worker, attempt, batch.id, found)
            if found.enough:
                break
    except NotFound as error:
        found.wrong("input_file_gone", error.message, "input_file_id", None)
    await _put(worker, attempt, batch.id, found)
    _bounds(found)
    await _decided(worker, attempt, batch, found)


def _bounds(found: Findings) -> None:
    if found.number > MAX_LINES:
        message = f"A batch takes {MAX_LINES} lines; split the file."
        found.wrong("too_many_lines", message, None, None)
    if found.inputs > MAX_INPUTS:
        message = f"A batch takes {MAX_INPUTS} inputs in all its lines together; split the file."
        found.wrong("too_many_inputs", message, None, None)
    if not found.number and not found.errors:
        found.wrong("empty_file", "The file has no lines.", "input_file_id", None)


async def _fresh(worker: ModelWorker, attempt: Attempt, batch_id: str) -> Batch | None:
    """The batch without what an earlier attempt put; None when it needs no validation any more."""
    claim = attempt.claim
    async with worker.db.begin() as session:
        batch = await moves.locked(session, batch_id)
        if batch is None or batch.status != tables.VALIDATING:
            return None
        if not await moves.ours(session, claim.id, claim.attempt):
            return None
        await session.execute(
            text("DELETE FROM batch_lines WHERE batch_id = :batch"), {"batch": batch_id}
        )
    return batch


async def split(
    storage: Storage, file_id: str, limit: int
) -> AsyncIterator[tuple[int, bytes | None]]:
    """(first byte, line) of each line that is not blank; None for one of more than `limit` bytes."""
    rest, start, skipping = bytearray(), 0, False
    async for piece in storage.read(key_of(file_id)):
        at = 0
        while (end := piece.find(b"\n", at)) >= 0:
            rest += piece[at:end]
            if skipping or len(rest) > limit:
                yield start, None
            elif rest.strip():
                yield start, bytes(rest)
            start += len(rest) + 1
            at, skipping = end + 1, False
            rest.clear()
        rest += piece[at:]
        if len(rest) > limit:
            # Only where it ends is of interest now.
            start += len(rest)
            skipping = True
            rest.clear()
    if skipping or len(rest) > limit:
        yield start, None
    elif rest.strip():
        yield start, bytes(rest)


def _look(
    worker: ModelWorker, batch: Batch, found: Findings, start: int, raw: bytes | None
) -> None:
    if raw is None:
        limit = worker.settings.max_body_bytes
        message = f"This line has more than {limit} bytes."
        found.wrong("line_too_long", message, None, found.number)
        return
    try:
        line = parsed(raw, batch.endpoint)
        _same_model(worker, batch, line)
    except BadLine as error:
        found.wrong(error.code, error.message, error.param, found.number)
        return
    if batch.endpoint == EMBEDDINGS:
        found.inputs += line.inputs
    tokens = line.tokens(worker.model)
    new = NewLine(found.number, line.custom_id, start, len(raw), line.hash, tokens)
    found.page.append(new)


def _same_model(worker: ModelWorker, batch: Batch, line: Line) -> None:
    """A batch is for one model: the one that its first line names."""
    if not line.model:
        raise BadLine("missing_model", "body.model must name a model.", "body.model")
    if line.model == batch.named:
        # An alias is the tenant's, and what it led to when the batch was made.
        return
    try:
        named = models.resolve(
            line.model, [worker.model], worker.settings, param="body.model", kind=None
        ).name
    except InvalidInput:
        named = line.model
    if named != batch.model:
        raise BadLine(
            "mismatched_model",
            f"The model {line.model[:64]!r} is not the batch's, {batch.model!r}: a batch is for one model.",
            "body.model",
        )


async def _put(worker: ModelWorker, attempt: Attempt, batch_id: str, found: Findings) -> None:
    if not found.page:
        return
    async with worker.db.begin() as session:
        if not await moves.ours(session, attempt.claim.id, attempt.claim.attempt):
            raise Refused("Another attempt has this step now.")
        twice = await lines.put(session, batch_id, found.page)
    found.page.clear()
    for one in twice:
        message = f"custom_id {one.custom_id[:64]!r} is that of an earlier line; make it unique."
        found.wrong("duplicate_custom_id", message, "custom_id", one.line)


async def _decided(worker: ModelWorker, attempt: Attempt, seen: Batch, found: Findings) -> None:
    claim = attempt.claim
    async with worker.db.begin() as session:
        batch = await moves.locked(session, seen.id)
        if batch is None or batch.status != tables.VALIDATING:
            return
        if not await moves.ours(session, claim.id, claim.attempt):
            return
        if found.errors:
            found.errors.sort(key=lambda one: one["line"] or 0)
            await moves.fail(session, batch, found.errors)
        else:
            batch.total = found.number
            if batch.resume_from is not None:
                await _reuse(session, batch)
            await moves.begin(session, batch)
    await worker.events.ring(seen.id)


async def _reuse(session: Any, batch: Batch) -> None:
    old = await session.get(Batch, batch.resume_from)
    same = ("tenant_id", "endpoint", "mark", "model")
    if old is not None and all(getattr(old, n) == getattr(batch, n) for n in same):
        await lines.reuse(session, batch, old.id)
