"""Rows into a batch. Shapes: B rows, L tokens of the longest of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

# What the loss leaves out (torch.nn.functional.cross_entropy).
IGNORED = -100


@dataclass(frozen=True)
class Collator:
    """Of supervised rows, padded on the right.

    Packed: no attention mask, position_ids_BL start anew at each document; that is how transformers
    knows where one ends, and keeps it from seeing the one before. Padding is a document of its own.
    The first token of a document is nobody's label: it would follow from the document before.
    """

    pad: int
    packed: bool

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in rows)
        shape = (len(rows), longest)
        ids_BL = torch.full(shape, self.pad, dtype=torch.long)
        labels_BL = torch.full(shape, IGNORED, dtype=torch.long)
        positions_BL = torch.zeros(shape, dtype=torch.long)
        mask_BL = torch.zeros(shape, dtype=torch.long)
        for at, row in enumerate(rows):
            size = len(row["input_ids"])
            ids_L = torch.tensor(row["input_ids"])
            learned_L = torch.tensor(row["loss"]).bool()
            documents = [*row["segments"], longest - size]
            learned_L[_starts(row["segments"])] = False
            ids_BL[at, :size] = ids_L
            labels_BL[at, :size] = torch.where(learned_L, ids_L, IGNORED)
            positions_BL[at] = torch.cat([torch.arange(length) for length in documents])
            mask_BL[at, :size] = 1
        places = {"position_ids": positions_BL} if self.packed else {"attention_mask": mask_BL}
        sizes_B = mask_BL.sum(1)
        return {"input_ids": ids_BL, "labels": labels_BL, "sizes": sizes_B, **places}


def _starts(segments: Sequence[int]) -> list[int]:
    """Where each document of a row begins."""
    starts, at = [], 0
    for length in segments:
        starts.append(at)
        at += length
    return starts
