"""Packing and the order of rows: nothing lost or doubled, whatever the ranks, wherever a run went on."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.data import padding
from workers.data.order import Order
from workers.data.packing import packed

LENGTHS = st.lists(st.integers(1, 200), max_size=150)


@given(
    lengths=LENGTHS, size=st.integers(1, 6), ranks=st.integers(1, 5), epoch=st.integers(0, 3),
    seed=st.integers(0, 9), bucketed=st.booleans(),
)  # fmt: skip
def test_each_row_comes_once_an_epoch_on_one_rank(
    lengths: list[int], size: int, ranks: int, epoch: int, seed: int, bucketed: bool
) -> None:
    orders = [Order(lengths, size, seed, ranks, rank, bucketed=bucketed) for rank in range(ranks)]
    taken = [list(order.batches(epoch)) for order in orders]
    assert Counter(row for steps in taken for batch in steps for row in batch) == Counter(
        range(len(lengths))
    )
    # Ranks that wait for each other make the same number of steps, none with more rows than fit.
    assert {len(steps) for steps in taken} == {orders[0].steps}
    assert all(len(batch) <= size for steps in taken for batch in steps)
    # Only the last step may be short, and is shared out evenly.
    by_step = [[len(steps[n]) for steps in taken] for n in range(orders[0].steps)]
    assert all(min(sizes) == size for sizes in by_step[:-1])
    assert all(max(sizes) - min(sizes) <= 1 for sizes in by_step)


@given(
    lengths=LENGTHS,
    size=st.integers(1, 6),
    ranks=st.integers(1, 5),
    seed=st.integers(0, 9),
    data=st.data(),
)
def test_a_run_that_goes_on_at_any_step_gets_exactly_the_rest(
    lengths: list[int], size: int, ranks: int, seed: int, data: st.DataObject
) -> None:
    rank = data.draw(st.integers(0, ranks - 1))
    order = Order(lengths, size, seed, ranks, rank)
    whole = list(order.batches(1))
    step = data.draw(st.integers(0, len(whole)))
    fresh = Order(lengths, size, seed, ranks, rank)
    assert list(fresh.batches(1, step)) == whole[step:]


@given(lengths=LENGTHS, size=st.sampled_from([1, 2, 3]), seed=st.integers(0, 9))
def test_a_step_holds_the_same_rows_however_many_ranks_share_it(
    lengths: list[int], size: int, seed: int
) -> None:
    def steps(ranks: int) -> list[set[int]]:
        parts = [
            list(Order(lengths, size * 4 // ranks, seed, ranks, r).batches(0)) for r in range(ranks)
        ]
        return [{row for part in parts for row in part[n]} for n in range(len(parts[0]))]

    assert steps(1) == steps(2) == steps(4)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    lengths = [random.Random(1).randrange(1, 99) for _ in range(300)]
    order = Order(lengths, 4, seed=7)
    assert list(order.batches(0)) != list(order.batches(1))
    assert list(order.batches(0)) != list(Order(lengths, 4, seed=8).batches(0))


def test_the_longest_rows_come_first() -> None:
    lengths = [random.Random(1).randrange(1, 99) for _ in range(3000)]
    first = next(Order(lengths, 4, seed=7).batches(0))
    assert max(lengths) in [lengths[row] for row in first]


@pytest.mark.parametrize(("size", "ranks", "rank"), [(0, 1, 0), (1, 2, 2), (1, 1, -1)])
def test_what_is_no_order_is_refused(size: int, ranks: int, rank: int) -> None:
    with pytest.raises(ValueError, match="is no order"):
        Order([1], size, 7, ranks, rank)


@given(lengths=st.lists(st.integers(1, 64), max_size=200))
def test_packing_keeps_each_document_whole_in_one_row(lengths: list[int]) -> None:
    row_of, count = packed(lengths, 64)
    rows = Counter[int]()
    for row, length in zip(row_of, lengths, strict=True):
        rows[row] += length
    assert len(row_of) == len(lengths)
    assert sorted(rows) == list(range(count))
    assert all(size <= 64 for size in rows.values())
    # Best fit, the longest first: no two rows could have been one.
    if count > 1:
        assert sum(sorted(rows.values())[:2]) > 64


@given(lengths=st.lists(st.integers(1, 64), min_size=1, max_size=60))
@settings(max_examples=50)
def test_packing_takes_few_rows(lengths: list[int]) -> None:
    _, count = packed(lengths, 64)
    fewest = -(-sum(lengths) // 64)
    # Johnson's bound is 11/9 of the best packing, which may itself be more than this.
    assert count <= 1.7 * fewest + 1


def test_waste_is_the_share_of_padding() -> None:
    assert padding.waste([1, 3, 2], [[0, 1], [2]]) == round(2 / 8, 4)
    assert padding.waste([], []) == 0.0


def test_buckets_and_packing_leave_a_fraction_of_the_padding() -> None:
    chance = random.Random(7)
    lengths = [min(512, max(8, int(chance.lognormvariate(4.6, 0.8)))) for _ in range(2000)]
    compared = padding.compared(lengths, 512, 8, 7)
    assert compared["naive"] > 0.4
    assert compared["bucketed"] < compared["naive"] / 5
    assert compared["packed"] < 0.02
