"""Which half of a suite's templates a correction may learn from, and which is kept to audit it on.

By cluster, never by item: two items of one template in different halves would be teaching to the test.
"""

import hashlib
from typing import Literal

from core.audits.asking import Item

Split = Literal["all", "train", "held_out"]
# What a suite's own file says of an item, if it says anything.
SPLIT = "split"


def side(item: Item) -> Split:
    """ "train" or "held_out": as the item's file has it, else by its cluster's hash; the same in every run."""
    told = item.data.get(SPLIT)
    if told == "train" or told == "held_out":
        return "train" if told == "train" else "held_out"
    odd = hashlib.sha256(item.cluster.encode()).digest()[0] & 1
    return "held_out" if odd else "train"


def within(item: Item, split: Split) -> bool:
    return split == "all" or side(item) == split
