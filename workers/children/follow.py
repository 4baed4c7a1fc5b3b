"""A child's life as part of an attempt: what it tells is handed on, and when the attempt stops, so does the child."""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from workers.context import Attempt
from workers.ranks import Ranks

log = structlog.get_logger(__name__)


async def followed(
    ranks: Ranks, attempt: Attempt, hear: Callable[[dict[str, Any]], None], *, grace_s: float
) -> None:
    """Start the ranks, and hand on what they tell until they have ended. Raises Died, and what `hear` raises.

    When the attempt is stopped so that it saves, the ranks are asked to, and have `grace_s` for it; else they
    are ended at once. None of them is left in any case.
    """

    async def listen() -> None:
        async for event in ranks.events():
            hear(event)

    await ranks.start()
    # A task of its own: what is cancelled is our waiting, not the conversation.
    heard = asyncio.create_task(listen())
    try:
        await asyncio.shield(heard)
    except asyncio.CancelledError:
        if attempt.why is not None and attempt.why.saves and grace_s > 0:
            ranks.ask_to_stop()
            await asyncio.wait({heard}, timeout=grace_s)
            if not heard.done():
                log.warning(
                    "a training did not save in time; its last checkpoint stands", grace_s=grace_s
                )
        raise
    finally:
        heard.cancel()
        await asyncio.gather(heard, return_exceptions=True)
        await ranks.end()
