"""How much of what a model computes is padding, for three ways to make batches of the same documents."""

from collections.abc import Iterable, Sequence

from workers.data.order import Order
from workers.data.packing import packed

# The share is that of a sample of so many documents: more change its third digit.
SAMPLE = 100_000


def waste(lengths: Sequence[int], batches: Iterable[list[int]]) -> float:
    """The share of padding when each batch is filled up to its longest row."""
    real = room = 0
    for batch in batches:
        inside = [lengths[row] for row in batch]
        real += sum(inside)
        room += max(inside, default=0) * len(inside)
    return round(1 - real / room, 4) if room else 0.0


def compared(lengths: Sequence[int], capacity: int, batch_size: int, seed: int) -> dict[str, float]:
    """`naive`: random batches; `bucketed`: our order; `packed`: our order of packed rows."""
    if len(lengths) > SAMPLE:
        lengths = [lengths[at * len(lengths) // SAMPLE] for at in range(SAMPLE)]
    row_of, count = packed(lengths, capacity)
    rows = [0] * count
    for row, length in zip(row_of, lengths, strict=True):
        rows[row] += length
    return {
        "naive": waste(lengths, Order(lengths, batch_size, seed, bucketed=False).steps_of(0)),
        "bucketed": waste(lengths, Order(lengths, batch_size, seed).steps_of(0)),
        "packed": waste(rows, Order(rows, batch_size, seed).steps_of(0)),
    }
