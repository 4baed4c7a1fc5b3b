"""Identifiers: of one shape, in the order of time, never the same twice."""

import re
import time

from core.ids import new_id


def test_an_id_is_its_prefix_and_26_letters_that_the_routes_take() -> None:
    for _ in range(1000):
        assert re.fullmatch(r"job_[0-9a-hjkmnp-tv-z]{26}", new_id("job"))


def test_ids_sort_by_the_millisecond_they_were_made_in() -> None:
    made = []
    for _ in range(20):
        made.append(new_id("x"))
        now = time.time_ns() // 1_000_000
        while time.time_ns() // 1_000_000 == now:
            pass
    assert made == sorted(made)


def test_ids_of_the_same_moment_differ() -> None:
    assert len({new_id("x") for _ in range(100_000)}) == 100_000
