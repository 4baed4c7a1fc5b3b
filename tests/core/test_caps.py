"""Caps: amounts as they are written, and what a cap leaves for answers."""

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from core.catalog.prices import FREE, Prices
from core.errors import InvalidInput
from core.jobs.kinds import InferenceJob, reservation
from core.jobs.submission import fingerprint
from core.ledger.caps import Caps, check, limit, plain, room
from tests.core.test_ledger import MODEL

PRICES = Prices(Decimal(1), Decimal(4), Decimal("0.1"))


def caps(**fields: Any) -> Caps:
    return Caps.model_validate(fields)


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        (0.1, "0.1"),
        ("0.10", "0.1"),
        (3, "3"),
        (1e-7, "0.0000001"),
        (1e-13, "0"),
        (1e9, "1000000000"),
        ("000.5", "0.5"),
    ],
)
def test_an_amount_is_what_was_written(written: Any, amount: str) -> None:
    found = caps(max_cost=written).max_cost
    assert found is not None
    assert plain(found) == amount
    assert caps(max_cost=written).model_dump()["max_cost"] == amount
    assert caps(max_cost=amount).max_cost == found


@pytest.mark.parametrize(
    "written", [-1, True, "1e5", "x", "", "-1", " 1", float("inf"), 2e9, [1], {}]
)
def test_what_is_no_amount_is_refused(written: Any) -> None:
    with pytest.raises(ValidationError, match="max_cost"):
        caps(max_cost=written)


@pytest.mark.parametrize("written", [0, -5, "10", 1.5, True])
def test_what_is_no_count_is_refused(written: Any) -> None:
    with pytest.raises(ValidationError, match="max_tokens_total"):
        caps(max_tokens_total=written)


@pytest.mark.parametrize(
    ("fields", "prompt", "left"),
    [
        ({}, 10, None),
        ({"max_tokens_total": 30}, 10, (20, "max_tokens_total")),
        ({"max_tokens_total": 10}, 10, (0, "max_tokens_total")),
        ({"max_tokens_total": 9}, 10, (-1, "max_tokens_total")),
        ({"max_cost": "0.00005"}, 10, (10, "max_cost")),
        ({"max_cost": "0.000053"}, 10, (10, "max_cost")),
        ({"max_cost": "0.00001"}, 10, (0, "max_cost")),
        ({"max_cost": "0.000009"}, 10, (-1, "max_cost")),
        ({"max_cost": "0.00005", "max_tokens_total": 15}, 10, (5, "max_tokens_total")),
        ({"max_cost": "0.00005", "max_tokens_total": 30}, 10, (10, "max_cost")),
    ],
)
def test_a_cap_leaves_what_the_prompt_does_not_take(
    fields: dict[str, Any], prompt: int, left: tuple[int, str] | None
) -> None:
    assert room(caps(**fields), prompt, PRICES) == left


def test_where_answers_are_free_only_the_prompt_meets_a_cap_on_the_cost() -> None:
    asks = Prices(Decimal(1), Decimal(0), Decimal(0))
    assert room(caps(max_cost=0), 10, FREE) is None
    assert room(caps(max_cost="0.00001"), 10, asks) is None
    assert room(caps(max_cost="0.000009"), 10, asks) == (-1, "max_cost")


def test_several_answers_share_what_is_left() -> None:
    some = caps(max_tokens_total=30)
    assert limit(some, 10, 3, 100, FREE) == (6, "max_tokens_total")
    assert limit(some, 10, 2, 10, FREE) == (10, None)
    assert limit(some, 10, 2, 11, FREE) == (10, "max_tokens_total")
    assert limit(some, 40, 2, 11, FREE) == (0, "max_tokens_total")
    assert limit(caps(), 10, 2, 11, FREE) == (11, None)


def test_a_cap_that_leaves_no_token_is_refused_with_the_count_and_what_would_do() -> None:
    check(caps(max_tokens_total=12), 10, 2, PRICES)
    with pytest.raises(InvalidInput) as refused:
        check(caps(max_tokens_total=11), 10, 2, PRICES)
    assert (refused.value.param, refused.value.code) == ("max_tokens_total", "budget_too_small")
    assert "the prompt alone has 10 tokens" in refused.value.message
    assert "at least 12" in refused.value.message
    with pytest.raises(InvalidInput) as refused:
        check(caps(max_cost="0.000001"), 10, 1, PRICES)
    assert refused.value.param == "max_cost"
    assert "10 tokens alone cost 0.00001," in refused.value.message
    assert "at least 0.000014" in refused.value.message
    check(caps(max_cost="0.000014"), 10, 1, PRICES)


def test_a_cap_bounds_the_reservation_and_is_part_of_the_body() -> None:
    def job(**fields: Any) -> InferenceJob:
        return InferenceJob.model_validate({"kind": "inference", "prompt": "x" * 40} | fields)

    assert reservation(job(max_tokens=50), MODEL) == 60
    assert reservation(job(max_tokens=50, max_tokens_total=40), MODEL) == 40
    assert fingerprint(job(max_cost="0.5")) == fingerprint(job(max_cost=0.50))
    assert fingerprint(job(max_cost="0.5")) != fingerprint(job())
    stored = job(max_cost=0.5).model_dump()
    assert stored["max_cost"] == "0.5"
