"""Documents into rows of at most so many tokens: best fit, the longest first.

Johnson 1973: no more than 11/9 of the fewest rows possible, and a few rows. Ding et al. 2024 (arXiv 2404.10830) is
its use for training without cutting documents up.
"""

from array import array
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence

import numpy as np


def packed(lengths: Sequence[int], capacity: int) -> tuple["array[int]", int]:
    """(the row of each document, how many rows). No length may be over `capacity`; order decides ties.

    O(n log n) for n documents: of the rows that have the same room the newest is taken, and there are no more
    different rooms than tokens in a row.
    """
    row_of = array("L", [0]) * len(lengths)
    rooms: list[int] = []  # those that are there, sorted
    rows: dict[int, list[int]] = defaultdict(list)
    count = 0
    sizes = np.asarray(lengths, dtype=np.int64)
    for document in map(int, np.argsort(-sizes, kind="stable")):
        size = lengths[document]
        at = bisect_left(rooms, size)
        if at == len(rooms):
            row, room = count, capacity
            count += 1
        else:
            room = rooms[at]
            row = rows[room].pop()
            if not rows[room]:
                rooms.pop(at)
                del rows[room]
        row_of[document] = row
        left = room - size
        if left:
            if left not in rows:
                insort(rooms, left)
            rows[left].append(row)
    return row_of, count
