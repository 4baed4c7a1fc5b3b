"""Rows of a prepared data set, and the order in which a run reads them: from the seed alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

from datasets import Dataset, load_from_disk
from torch.utils.data import Sampler

from workers.data import order


def rows(folder: Path) -> Dataset | None:
    """The split that `workers.data` saved there, memory-mapped; None when there is none or it is empty."""
    if not folder.is_dir():
        return None
    found = cast("Dataset", load_from_disk(str(folder)))
    return found if len(found) else None


def lengths(data: Dataset, columns: tuple[str, ...]) -> list[int]:
    """Of each row, in tokens: the sum over `columns`."""
    chosen = data.select_columns(list(columns)).with_format("arrow")
    total = [0] * len(data)
    for name in columns:
        sizes = chosen[:][name].combine_chunks().value_lengths().to_pylist()
        total = [a + b for a, b in zip(total, sizes, strict=True)]
    return total


def packed(data: Dataset) -> bool:
    """Whether any row holds several documents."""
    return max(lengths(data, ("segments",))) > 1


class Order(Sampler[int]):
    """The rows of each epoch one after the other, as torch wants them; `sizes`: with rows of like length in one
    batch of `batch` rows. Which they are is said in workers/data/order.py."""

    def __init__(self, rows: int, seed: int, batch: int, sizes: list[int] | None = None) -> None:
        lengths = [1] * rows if sizes is None else sizes
        self._order = order.Order(lengths, batch, seed, bucketed=sizes is not None)
        self._rows = rows
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[int]:
        return (row for step in self._order.steps_of(self.epoch) for row in step)
