"""Which items are asked where not all of them are: drawn by a seed, evenly over the clusters, pairs kept together."""

import hashlib
from collections import defaultdict

from core.audits.asking import Item


def drawn(items: list[Item], wanted: int | None, seed: int) -> list[Item]:
    """At most `wanted` of these in their order, each cluster in proportion to its size; the same for the same seed.

    Items of one pair come together or not at all: half of one says nothing.
    """
    if wanted is None or wanted >= len(items):
        return items
    taken: set[str] = set()
    for unit in _in_turn(items, seed):
        if len(taken) + len(unit) <= wanted:
            taken.update(item.id for item in unit)
        if len(taken) == wanted:
            break
    return [item for item in items if item.id in taken]


def _in_turn(items: list[Item], seed: int) -> list[list[Item]]:
    """The units of all clusters, spread over each other: the nth of m stands at (n + a cluster's own part) / m."""
    pairs: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        pairs[item.pair or f"\0{item.id}"].append(item)
    clusters: dict[str, list[list[Item]]] = defaultdict(list)
    for unit in pairs.values():
        clusters[unit[0].cluster].append(unit)
    places = []
    for cluster, units in clusters.items():
        units.sort(key=lambda unit: _chance(seed, "item", unit[0].id))
        start = _chance(seed, "cluster", cluster)
        places += [((n + start) / len(units), cluster, unit) for n, unit in enumerate(units)]
    places.sort(key=lambda place: place[:2])
    return [unit for _, _, unit in places]


def _chance(seed: int, what: str, name: str) -> float:
    """In [0, 1), by a hash: the same in every process and on every machine."""
    raw = hashlib.blake2b(f"{seed}\0{what}\0{name}".encode(), digest_size=8).digest()
    return int.from_bytes(raw) / 2**64
