"""The order in which rows are trained on: shuffled, alike in length within a batch, shared among ranks, resumable.

It follows from the lengths, the seed and the epoch alone, so that rank r of n knows its rows without asking, and
step k of a run that was cut off knows what is left. Pure Python: the trainer's batch sampler stands on it.
"""

import random
from collections.abc import Iterator, Sequence

# Rows are sorted by length within so many steps' worth: enough to fill batches with neighbours, and few enough
# that an epoch stays shuffled. Hugging Face's length-grouped sampler takes 50 as well.
WINDOW_STEPS = 50


class Order:
    """Of rows with these lengths. `batch_size`: rows that one rank takes in one step."""

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        seed: int,
        ranks: int = 1,
        rank: int = 0,
        *,
        bucketed: bool = True,
    ) -> None:
        if not (batch_size >= 1 and 0 <= rank < ranks):
            raise ValueError(f"rank {rank} of {ranks} with batches of {batch_size} is no order")
        self._lengths = lengths
        self._size = batch_size
        self._seed = seed
        self._ranks, self._rank = ranks, rank
        self._bucketed = bucketed

    @property
    def steps(self) -> int:
        """In an epoch; the same for each rank."""
        return -(-len(self._lengths) // (self._size * self._ranks))

    def batches(self, epoch: int, start_step: int = 0) -> Iterator[list[int]]:
        """This rank's rows, a list for each step from `start_step` of the epoch on.

        Each row comes once an epoch, on one rank. All ranks make as many steps: in an epoch's last step rows
        are shared out evenly, so that a rank has fewer than others, or none when there are fewer rows than ranks.
        """
        for rows in self.steps_of(epoch)[start_step:]:
            # Every n-th, so that ranks get rows of like length, and wait little for each other.
            yield rows[self._rank :: self._ranks]

    def steps_of(self, epoch: int) -> list[list[int]]:
        """All ranks' rows of each step of an epoch. One after the other they are what a sampler of rows gives."""
        chance = random.Random(f"{self._seed}:{epoch}")  # noqa: S311 - an order that can be had again, no secret
        rows = list(range(len(self._lengths)))
        chance.shuffle(rows)
        step = self._size * self._ranks
        if not self._bucketed:
            return [rows[at : at + step] for at in range(0, len(rows), step)]
        steps: list[list[int]] = []
        window = step * WINDOW_STEPS
        for at in range(0, len(rows), window):
            near = sorted(rows[at : at + window], key=lambda one: (-self._lengths[one], one))
            steps += [near[i : i + step] for i in range(0, len(near), step)]
        # A step that is not full stays the last: then a plain stream of rows is cut into the same steps.
        full, short = [s for s in steps if len(s) == step], [s for s in steps if len(s) < step]
        chance.shuffle(full)
        if full:
            # The longest first: what does not fit in memory shows at once.
            longest = max(range(len(full)), key=lambda n: self._lengths[full[n][0]])
            full[0], full[longest] = full[longest], full[0]
        return full + short
