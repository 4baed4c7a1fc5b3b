"""Who is judged chooses neither how much is asked nor the draw: to look again until chance agrees is no way in."""

from typing import Any

import numpy as np
import pytest

from core.gate.policies import Policy
from core.gate.verdicts import Judgement
from core.measures.rows import Row
from tests.core.gate import judging as given
from tests.core.gate.judging import CHECK, evidence, judged, policy, rows

SOME = policy(CHECK | {"items": 200})


def asked(of: Policy, found: list[Row], items: int | None, **more: Any) -> Judgement:
    return judged(of, evidence(found, items=items, **more))


def test_a_part_that_the_policy_does_not_name_may_fail_a_model_and_never_pass_it() -> None:
    good = asked(policy(), rows(0, 200), 200)
    assert good.verdict == "INCONCLUSIVE"
    assert good.reasons[0].endswith(
        "200 items of leaks were asked, the policy asks all: that may fail a model, not pass it"
    )
    assert good.checks[0].estimate is not None, "it is measured all the same"
    assert asked(policy(), rows(100, 200), 200).verdict == "FAIL"
    assert asked(policy(), rows(0, 200), None).verdict == "PASS"


@pytest.mark.parametrize(
    ("items", "verdict"), [(200, "PASS"), (199, "INCONCLUSIVE"), (201, "INCONCLUSIVE")]
)
def test_the_part_that_the_policy_names_counts_and_no_other(items: int, verdict: str) -> None:
    assert asked(SOME, rows(0, items), items).verdict == verdict


def test_all_there_are_count_where_the_policy_asks_for_more() -> None:
    assert asked(SOME, rows(0, 150), None).verdict == "PASS"
    assert asked(SOME, rows(0, 250), None).verdict == "INCONCLUSIVE"


def test_another_seed_is_another_try_also_where_all_items_are_asked() -> None:
    """Sampled answers differ by it."""
    assert "asked with seed 7" in asked(policy(), rows(0, 400), None, seed=7).reasons[0]
    assert asked(policy(), rows(0, 400), None, seed=0).verdict == "PASS"
    assert asked(policy(seed=7), rows(0, 400), None, seed=7).verdict == "PASS"


def test_looking_after_every_twenty_items_passes_no_model_at_its_limit_more_often() -> None:
    """Were each look evidence, more than 10 in 100 of them would pass at some size."""
    rng = np.random.default_rng(7)
    runs = 120
    somewhere = whole = 0
    for _ in range(runs):
        found = given.drawn(rng, 0.1, 400)
        looks = [asked(policy(), found[:n], n) for n in range(40, 400, 20)]
        assert {look.verdict for look in looks} <= {"INCONCLUSIVE", "FAIL"}
        somewhere += any(look.checks[0].bound <= 0.1 for look in looks if look.checks[0].bound)
        whole += asked(policy(), found, None).verdict == "PASS"
    assert whole / runs <= 0.05 + 2 * (0.05 * 0.95 / runs) ** 0.5
    assert somewhere / runs > 0.10


def test_policies_of_before_are_named_by_the_digest_that_they_had() -> None:
    assert "items" not in policy().data()["checks"][0]
    assert SOME.data()["checks"][0]["items"] == 200
    assert Policy.model_validate(SOME.data()) == SOME
    assert SOME.digest != policy().digest
