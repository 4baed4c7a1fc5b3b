"""Rows that say nearly the same: MinHash of their 5-word shingles, in FineWeb's bands.

Penedo et al. 2024 (arXiv 2406.17557), appendix E: 5-grams, 112 hashes in 14 bands of 8. Two texts that share 75 %
of their shingles meet in a band with a chance of 77 %, 85 % with 99 %, 50 % with 5 %. What meets is one group.
A row costs 112 bytes of memory: its bands' hashes; the signatures themselves are not kept.
"""

from array import array
from collections.abc import Callable, Sequence

import numpy as np
from datasketch import MinHash
from numpy.typing import NDArray

from workers.data.spool import short_digest
from workers.data.words import words

SHINGLE, BANDS, BAND = 5, 14, 8
# Texts in scripts without blanks come as few long words: their shingles are of characters.
LONG_WORD = 20


class Alike:
    """Texts are added in order; `groups` then says which belong together."""

    def __init__(self) -> None:
        self._empty = MinHash(num_perm=BANDS * BAND, seed=1)
        self._bands = [array("Q") for _ in range(BANDS)]

    def add(self, text: str) -> None:
        made = self._empty.copy()
        made.update_batch(_shingles(text))
        for number, band in enumerate(self._bands):
            band.append(
                short_digest(made.hashvalues[number * BAND : (number + 1) * BAND].tobytes())
            )

    def groups(self, tick: Callable[[int], None] = lambda _: None) -> NDArray[np.int64]:
        """For each text the number of the first one of its group, which for most is itself."""
        first = np.arange(len(self._bands[0]), dtype=np.int64)
        for number, band in enumerate(self._bands):
            hashes = np.frombuffer(band, dtype=np.uint64)
            order = np.argsort(hashes, kind="stable")
            same = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
            for at in same:
                _join(first, int(order[at]), int(order[at + 1]))
            tick(number)
        for at in range(len(first)):
            first[at] = _root(first, at)
        return first


def _root(first: NDArray[np.int64], at: int) -> int:
    while first[at] != at:
        first[at] = first[first[at]]
        at = int(first[at])
    return at


def _join(first: NDArray[np.int64], one: int, other: int) -> None:
    low, high = sorted((_root(first, one), _root(first, other)))
    first[high] = low


def _shingles(text: str) -> Sequence[bytes]:
    said = words(text)
    if said and sum(map(len, said)) / len(said) > LONG_WORD:
        said = list("".join(said))
    if len(said) <= SHINGLE:
        return [" ".join(said).encode()]
    return [" ".join(said[at : at + SHINGLE]).encode() for at in range(len(said) - SHINGLE + 1)]
