"""Which items are asked: the same for a seed, every cluster in proportion, pairs whole."""

from collections import Counter

from core.audits.asking import Item, Write
from core.audits.drawing import drawn


def item(name: str, cluster: str, pair: str = "") -> Item:
    return Item(name, Write(name, 1), cluster, pair=pair)


ITEMS = [item(f"{c}{n}", c) for c, size in (("a", 60), ("b", 30), ("c", 10)) for n in range(size)]


def test_a_draw_keeps_the_order_and_is_the_seed_s() -> None:
    first, again, other = (drawn(ITEMS, 20, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert first == [one for one in ITEMS if one in first]
    assert drawn(ITEMS, None, 1) is drawn(ITEMS, 100, 1) is ITEMS


def test_each_cluster_has_its_part() -> None:
    for seed in range(20):
        counts = Counter(one.cluster for one in drawn(ITEMS, 50, seed))
        assert abs(counts["a"] - 30) <= 1
        assert abs(counts["b"] - 15) <= 1
        assert abs(counts["c"] - 5) <= 1


def test_every_item_is_as_likely() -> None:
    often = Counter(one.id for seed in range(400) for one in drawn(ITEMS, 25, seed))
    assert len(often) == len(ITEMS)
    assert max(often.values()) < 400 * 0.25 * 1.6


def test_a_pair_comes_whole_or_not_at_all() -> None:
    pairs = [item(f"{side}{n}", f"c{n % 7}", f"p{n}") for n in range(30) for side in "xy"]
    for wanted in (1, 7, 20):
        found = drawn(pairs, wanted, 3)
        assert len(found) == wanted - wanted % 2
        assert set(Counter(one.pair for one in found).values()) <= {2}
