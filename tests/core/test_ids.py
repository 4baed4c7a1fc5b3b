"""Identifiers: of one shape, in the order of time, never the same twice."""

import re
from concurrent.futures import ThreadPoolExecutor

from core.ids import new_id


def test_an_id_is_its_prefix_and_26_letters_that_the_routes_take() -> None:
    for _ in range(1000):
        assert re.fullmatch(r"job_[0-9a-hjkmnp-tv-z]{26}", new_id("job"))


def test_ids_sort_in_the_order_they_were_made() -> None:
    """Most of these share their millisecond with others: a batch's shards, the answers of one request."""
    made = [new_id("x") for _ in range(100_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_those_of_many_threads_differ_and_sort_for_each() -> None:
    with ThreadPoolExecutor(8) as threads:
        parts = list(threads.map(lambda _: [new_id("x") for _ in range(5_000)], range(8)))
    assert all(part == sorted(part) for part in parts)
    assert len({one for part in parts for one in part}) == 40_000
