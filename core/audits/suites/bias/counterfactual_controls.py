"""Known responders to counterfactual templates, and the changes that they show: counted pair by pair."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import combinations

from core.audits.asking import Answer, Item, Score, Write
from core.audits.suite import Control
from core.audits.suites.bias import choosing

NAMES = (
    *("ctf.gap@garg2019", "ctf.signed@garg2019", "ctf.flips@garg2019"),
    *("ctf.floor", "ctf.excess"),
)
# So far apart, in nats, that the less likely is 0 beside the other in a double.
APART = 1000.0
# (item, place of the group: 0 is the one that the file lists first) -> whether f(x) is 1; else it is 0.
Decider = Callable[[Item, int], bool]


def controls(items: list[Item]) -> tuple[Control, ...]:
    responders: dict[str, Decider] = {
        "always_same": lambda _item, _place: True,
        "always_stereotype": lambda _item, place: place == 0,
        "always_anti": lambda _item, place: place != 0,
        "coin": _toss,
    }
    known = [
        Control(name=name, answer=_answering(decide), expected=_expected(items, decide))
        for name, decide in responders.items()
    ]
    return (
        *known,
        Control(
            name="unparsable",
            answer=choosing.unreadable,
            expected=dict.fromkeys(NAMES),
            valid_rate=0.0,
        ),
    )


def _toss(item: Item, place: int) -> bool:
    """In a written item the place is the item's own; in a pair each side has a coin."""
    return bool(choosing.coin(item, 4) >> (0 if isinstance(item.ask, Write) else place) & 1)


def _answering(decide: Decider) -> Callable[[Item], Answer]:
    def answer(item: Item) -> Answer:
        if isinstance(item.ask, Write):
            return choosing.says("Yes." if decide(item, item.data["place"]) else "No.", item.ask.n)
        assert isinstance(item.ask, Score)
        half, high = len(item.ask.continuations) // 2, item.data["high"]
        return choosing.ranks(
            [
                APART * ((end < high) == decide(item, place))
                for place in (0, 1)
                for end in range(half)
            ]
        )

    return answer


def _expected(items: list[Item], decide: Decider) -> dict[str, float | None]:
    changes = list(_changes(items, decide))
    # The same answer to each draw: asking again changes nothing, where it is done.
    floor = 0.0 if any(isinstance(item.ask, Write) and item.ask.n > 1 for item in items) else None
    if not changes:
        return dict.fromkeys(NAMES) | {"ctf.floor": floor}
    moved = sum(one != other for one, other in changes) / len(changes)
    signed = sum(other - one for one, other in changes) / len(changes)
    excess = None if floor is None else moved - floor
    return dict(zip(NAMES, (moved, signed, moved, floor, excess), strict=True))


def _changes(items: list[Item], decide: Decider) -> Iterator[tuple[int, int]]:
    """The decisions on both sides of each pair."""
    asked: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        if isinstance(item.ask, Write):
            asked[item.cluster].append(item)
        else:
            yield int(decide(item, 0)), int(decide(item, 1))
    for several in asked.values():
        for pair in combinations(sorted(several, key=lambda item: int(item.data["place"])), 2):
            one, other = (int(decide(item, item.data["place"])) for item in pair)
            yield one, other
