"""A scored answer as counts, from which every variant of a metric can be computed again."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Row:
    """One item as it was scored.

    `cluster`: items made from one template (or one passage) are not independent; intervals go by clusters.
    `valid`: the answer could be read; an invalid row has no counts and lowers the valid rate alone. `counts`: sums of
    these over items are what metrics are computed from. `groups`: dimension -> value, such as {"category": "Age"}.
    `pair`: rows that differ in nothing but a swapped word share it.
    """

    item: str
    cluster: str
    valid: bool
    counts: Mapping[str, float] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    pair: str = ""
