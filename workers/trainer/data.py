"""Rows of a prepared data set, and the order in which a run reads them: from the seed alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch
from datasets import Dataset, load_from_disk
from torch.utils.data import Sampler

# Rows of like length are sought among so many batches: more would order the epoch by length.
NEIGHBOURS = 50


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
    """Every row once an epoch; with `sizes`, rows of like length stand in one batch of `batch` rows.

    The order of an epoch follows from seed and epoch, and from nothing that a run does meanwhile.
    """

    def __init__(self, rows: int, seed: int, batch: int, sizes: list[int] | None = None) -> None:
        self.rows, self.seed, self.batch, self.sizes = rows, seed, batch, sizes
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[int]:
        chance = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order: list[int] = torch.randperm(self.rows, generator=chance).tolist()
        if self.sizes is None:
            return iter(order)
        sizes = self.sizes
        batches: list[list[int]] = []
        for at in range(0, self.rows, self.batch * NEIGHBOURS):
            near = sorted(order[at : at + self.batch * NEIGHBOURS], key=lambda row: sizes[row])
            batches += [near[i : i + self.batch] for i in range(0, len(near), self.batch)]
        # A batch that is not full is the epoch's last, or those after it would be cut elsewhere.
        rest = [one for one in batches if len(one) < self.batch]
        full = [one for one in batches if len(one) == self.batch]
        shuffled = [full[i] for i in torch.randperm(len(full), generator=chance).tolist()]
        return (row for one in [*shuffled, *rest] for row in one)
