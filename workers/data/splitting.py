"""Which rows are set aside for validation: by seed, and never one that is nearly a training row."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from workers.data.filtering import Groups
from workers.data.problems import Invalid, whole

GONE, TRAIN, VALIDATION = 0, 1, 2


def split(groups: Groups, share: float, seed: int) -> "np.ndarray[tuple[int], np.dtype[np.int8]]":
    """For each row GONE, TRAIN or VALIDATION. The share is of rows that stay; raises Invalid when none can go.

    Whole groups of near-duplicates go to one side. They are drawn in an order that only the seed and the group's
    first row decide; one that is larger than what is still wanted is passed over.
    """
    part = np.where(groups.alive, TRAIN, GONE).astype(np.int8)
    wanted = max(round(share * int(groups.alive.sum())), 1) if share else 0
    if not wanted:
        return part
    members: dict[int, list[int]] = defaultdict(list)
    for number in np.flatnonzero(groups.alive):
        members[int(groups.group[number])].append(int(number))
    taken = 0
    for group in sorted(members, key=lambda one: _drawn(seed, one)):
        if len(members[group]) <= wanted - taken and len(members) > 1:
            part[members[group]] = VALIDATION
            taken += len(members[group])
        if taken == wanted:
            break
    if not taken or taken == int(groups.alive.sum()):
        raise nothing_to_set_aside()
    return part


def nothing_to_set_aside() -> Invalid:
    return whole(
        "The data",
        "have no rows that differ enough from the rest to be set aside for validation; give more rows, a file for "
        "validation, or validation_share 0",
        code="no_validation_rows",
        param="validation_share",
    )


def _drawn(seed: int, number: int) -> bytes:
    return hashlib.sha256(f"{seed}:{number}".encode()).digest()


def numbers(part: "np.ndarray[tuple[int], np.dtype[np.int8]]", which: int) -> Iterator[int]:
    yield from map(int, np.flatnonzero(part == which))
