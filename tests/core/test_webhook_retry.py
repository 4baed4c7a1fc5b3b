"""The retry rules, as pure functions of an answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config import Settings
from core.webhooks.retry import RETRY_AFTER_CAP_S, Answer, judge
from core.webhooks.tables import CANCELLED, DEAD, DELIVERED, PENDING

SCHEDULE = Settings(_env_file=None).webhook_schedule_s
JITTER = st.floats(-0.1, 0.1)


def _failed(status: int | None = 500, retry_after_s: float | None = None) -> Answer:
    return Answer(status, "no", None, retry_after_s)


def test_the_default_schedule_is_ten_tries_over_three_days() -> None:
    assert len(SCHEDULE) == 10
    assert SCHEDULE[0] == 0
    assert 72 * 3600 <= sum(SCHEDULE) <= 76 * 3600


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_delivers(status: int) -> None:
    assert judge(Answer(status), tries=1, schedule=SCHEDULE, jitter=0).state == DELIVERED


@pytest.mark.parametrize("status", [None, 100, 301, 302, 400, 401, 404, 429, 500, 503])
def test_anything_else_is_tried_again(status: int | None) -> None:
    assert judge(_failed(status), tries=1, schedule=SCHEDULE, jitter=0) == (PENDING, 5)


def test_410_ends_it() -> None:
    assert judge(_failed(410), tries=1, schedule=SCHEDULE, jitter=0).state == CANCELLED


@given(st.integers(1, 9), JITTER)
def test_pauses_follow_the_schedule_within_the_jitter(tries: int, jitter: float) -> None:
    verdict = judge(_failed(), tries=tries, schedule=SCHEDULE, jitter=jitter)
    assert verdict.state == PENDING
    assert SCHEDULE[tries] * 0.9 <= verdict.pause_s <= SCHEDULE[tries] * 1.1


@given(st.integers(10, 50), st.sampled_from([None, 429, 500, 503]))
def test_a_delivery_is_dead_after_its_last_try(tries: int, status: int | None) -> None:
    assert judge(_failed(status, 5), tries=tries, schedule=SCHEDULE, jitter=0).state == DEAD


@given(st.floats(0, 1e9), JITTER, st.sampled_from([429, 503]))
def test_retry_after_is_never_undercut_and_capped_at_a_day(
    asked: float, jitter: float, status: int
) -> None:
    verdict = judge(_failed(status, asked), tries=1, schedule=SCHEDULE, jitter=jitter)
    assert min(asked, RETRY_AFTER_CAP_S) <= verdict.pause_s <= RETRY_AFTER_CAP_S
    assert verdict.pause_s >= 1


def test_retry_after_counts_only_with_429_and_503() -> None:
    assert judge(_failed(500, 7), tries=1, schedule=SCHEDULE, jitter=0).pause_s == 5
