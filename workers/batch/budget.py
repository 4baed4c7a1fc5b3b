"""A shard's lines of a batch with a cap: in their order, each waits until it may start."""

import asyncio

from core.batches import budget
from core.batches.budget import Fit
from workers.batch.line import Line
from workers.context import Attempt
from workers.process import ModelWorker

# Other shards, too, leave what their lines did not take.
AGAIN_S = 0.1


class Budget:
    """One line at a time asks, so that a long one is not passed by the short ones behind it for ever."""

    def __init__(self, worker: ModelWorker, attempt: Attempt, batch_id: str) -> None:
        self._worker, self._batch_id = worker, batch_id
        self._job = (attempt.claim.id, attempt.claim.attempt)
        self._turn = asyncio.Lock()
        self._ended = False

    async def release(self, first: int, last: int) -> None:
        async with self._worker.db.begin() as session:
            await budget.release(session, self._batch_id, self._job, first, last)

    async def admits(self, line: Line) -> bool:
        """Whether the line may start; waits while that is not known. False: none will any more."""
        async with self._turn:
            if self._ended:
                return False
            need = await self._worker.seats.run(line.need)
            while need is not None:
                async with self._worker.db.begin() as session:
                    fit = await budget.take(
                        session, self._batch_id, self._job, line.row.line, need.tokens, need.cost
                    )
                match fit:
                    case Fit.TAKEN:
                        return True
                    case Fit.ENDED:
                        self._ended = True
                        return False
                await asyncio.sleep(AGAIN_S)
            return True
