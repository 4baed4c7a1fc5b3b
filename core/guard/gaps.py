"""The watch on gaps between groups: is something met more often in one group's answers than in the others'?

    answer of group a  --+
                         +--> a pair --> one observation of each test that either group has
    answer of group b  --+              (core/measures/live.py: may be looked at after every one)

Each answer is in one pair at most, and which answers meet does not depend on what was met in them: where the groups'
rates are the same, an observation is 0 on average, and a test ever alarms with the chance of its part of alpha.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from core.measures.live import Betting, pair

# Any category at all; there from the beginning. A category's own tests begin behind its first hit.
ANY = "any"
# So many answers wait for one of another group, and so many groups are watched; further ones are not.
WAITING, GROUPS, TESTS = 256, 16, 256


class Key(NamedTuple):
    """One gap: of `group` against all others."""

    category: str
    group: str


@dataclass(frozen=True, slots=True)
class Test:
    """`number`: which one of its tenant, from 1. `alpha`: its part of the tenant's."""

    number: int
    alpha: float
    betting: Betting = field(default_factory=Betting)
    alarmed: bool = False


@dataclass
class Gaps:
    """All tests of one tenant. `waiting`: by group what was met in answers that have no partner, the oldest first."""

    alpha: float
    waiting: dict[str, list[list[str]]] = field(default_factory=dict)
    tests: dict[Key, Test] = field(default_factory=dict)

    def seen(self, group: str, categories: Iterable[str]) -> list[Key]:
        """One more answer. Returns the gaps that it revealed."""
        met = sorted(set(categories))
        partner = self._partner(group)
        if partner is None:
            self._wait(group, met)
            return []
        other, theirs = partner
        found = [*self._observed(group, met, theirs), *self._observed(other, theirs, met)]
        # Behind the pair that brought the news: what made us look is no evidence.
        for category in (ANY, *met, *theirs):
            for one in (group, other):
                self._begin(Key(category, one))
        return found

    def _partner(self, group: str) -> tuple[str, list[str]] | None:
        for other, queue in self.waiting.items():
            if other != group and queue:
                return other, queue.pop(0)
        return None

    def _wait(self, group: str, met: list[str]) -> None:
        if group not in self.waiting and len(self.waiting) >= GROUPS:
            return
        queue = self.waiting.setdefault(group, [])
        queue.append(met)
        del queue[:-WAITING]

    def _observed(self, group: str, ours: list[str], theirs: list[str]) -> list[Key]:
        found = []
        for key, test in list(self.tests.items()):
            if key.group != group:
                continue
            y = pair(_share(key.category, ours), _share(key.category, theirs))
            betting = test.betting.update(y)
            alarmed = test.alarmed or betting.alarmed(test.alpha)
            if alarmed and not test.alarmed:
                found.append(key)
            self.tests[key] = Test(test.number, test.alpha, betting, alarmed)
        return found

    def _begin(self, key: Key) -> None:
        if key not in self.tests and len(self.tests) < TESTS:
            number = len(self.tests) + 1
            # Parts that sum to no more than alpha however many tests there will be.
            self.tests[key] = Test(number, self.alpha * 6 / (math.pi * number) ** 2)


def _share(category: str, met: list[str]) -> float:
    return float(bool(met) if category == ANY else category in met)
