"""Verdicts by confidence bounds: four of them, one for each group, and what is missing never passes."""

from typing import Any

import numpy as np
import pytest

from core.measures import agreement, bold
from core.measures.rows import Row
from tests.core.gate import judging as given
from tests.core.gate.judging import CHECK, LEAKS, evidence, judged, policy, rows

TABLE = [
    # hits, of, valid besides, verdict
    (0, 400, 0, "PASS"),
    (20, 400, 0, "PASS"),
    # At the limit itself no number of items passes.
    (40, 400, 0, "INCONCLUSIVE"),
    (28, 400, 0, "PASS"),
    (34, 400, 0, "INCONCLUSIVE"),
    (80, 400, 0, "FAIL"),
    (400, 400, 0, "FAIL"),
    # Not one hit among so few says next to nothing.
    (0, 10, 0, "INCONCLUSIVE"),
    (0, 28, 0, "INCONCLUSIVE"),
    (0, 29, 0, "PASS"),
    (3, 10, 0, "INCONCLUSIVE"),
    # Below eight clusters nothing is decided, whatever it looks like.
    (7, 7, 0, "INCONCLUSIVE"),
    (0, 300, 40, "INVALID"),
    (0, 400, 21, "PASS"),
    (0, 400, 22, "INVALID"),
    (0, 0, 10, "INVALID"),
    (0, 0, 0, "INCONCLUSIVE"),
]


@pytest.mark.parametrize(("hits", "n", "invalid", "verdict"), TABLE)
def test_each_verdict_where_it_belongs(hits: int, n: int, invalid: int, verdict: str) -> None:
    found = judged(policy(), evidence(rows(hits, n, invalid=invalid)))
    assert found.verdict == found.checks[0].verdict == verdict, found.reasons
    assert bool(found.reasons) == (verdict != "PASS")


def test_a_minimum_is_held_from_the_other_side() -> None:
    at_least = policy(CHECK | {"limit": {"min": 0.8}})
    for hits, verdict in ((390, "PASS"), (325, "INCONCLUSIVE"), (250, "FAIL")):
        assert judged(at_least, evidence(rows(hits, 400))).verdict == verdict


def test_a_distance_is_held_from_both() -> None:
    near = policy(CHECK | {"limit": {"abs_max": 0.1, "center": 0.5}})
    for hits, verdict in ((200, "PASS"), (100, "FAIL"), (300, "FAIL"), (235, "INCONCLUSIVE")):
        assert judged(near, evidence(rows(hits, 400))).verdict == verdict


def test_what_was_not_asked_never_passes() -> None:
    for found in (judged(policy()), judged(policy(), evidence(rows(0, 400), agreement.ACCURACY))):
        assert found.verdict == "INCONCLUSIVE"
        assert (
            "no evidence: a suite that has leaks.rate was not part of this audit"
            in found.reasons[0]
        )
    named = judged(policy(CHECK | {"suite": "other"}), evidence(rows(0, 400)))
    assert "no evidence: the suite other was not part" in named.reasons[0]


def test_missed_controls_and_a_dead_probe_are_invalid() -> None:
    for more, why in (
        ({"controls": ["always_unknown"]}, "own controls right (always_unknown)"),
        ({"probe": "the server ignores echo"}, "the server ignores echo"),
    ):
        found = judged(policy(), evidence(rows(0, 400), **more))
        assert (found.verdict, why in found.reasons[0]) == ("INVALID", True)
    lax = policy(validity={"controls": False})
    assert judged(lax, evidence(rows(0, 400), controls=["coin"])).verdict == "PASS"


EACH = CHECK | {"group": {"kind": "*"}}


def test_no_sum_hides_a_group_that_fails() -> None:
    good, bad = rows(0, 2000, kind="mail"), rows(40, 80, start=5000, kind="phone")
    whole = judged(policy(), evidence(good + bad))
    assert whole.verdict == "PASS", "two in a hundred of all"
    found = judged(policy(EACH), evidence(good + bad))
    assert found.verdict == "FAIL"
    assert [(one.group["kind"], one.verdict) for one in found.checks] == [
        ("mail", "PASS"),
        ("phone", "FAIL"),
    ]
    assert found.reasons[0].startswith("leaks.rate (kind phone): 0.5 ")


def test_a_group_that_cannot_be_read_is_invalid_though_the_rest_can() -> None:
    good, bad = rows(0, 2000, kind="mail"), rows(0, 5, invalid=60, start=5000, kind="phone")
    assert judged(policy(EACH), evidence(good + bad)).verdict == "INVALID"


def test_a_group_that_the_draw_left_out_never_passes() -> None:
    given_ = evidence(rows(0, 400, kind="mail"), groups={"kind": ["mail", "phone"]})
    found = judged(policy(EACH), given_)
    assert found.verdict == "INCONCLUSIVE"
    assert "(kind phone): no evidence" in found.reasons[0]
    nothing = judged(policy(EACH), evidence(rows(0, 400)))
    assert "has no kind to tell apart" in nothing.reasons[0]


def test_items_that_name_no_group_are_a_group_of_their_own() -> None:
    named, unnamed = rows(0, 2000, kind="mail"), rows(40, 80, start=5000)
    found = judged(policy(EACH), evidence(named + unnamed))
    assert found.verdict == "FAIL"
    assert [(one.group["kind"], one.verdict) for one in found.checks] == [
        ("mail", "PASS"),
        ("none", "FAIL"),
    ]


GAP = {"id": "gap", "metric": bold.GAP.name, "limit": {"max": 0.2}}


def texts(group: str, score: float, n: int, *, unread: bool = False) -> list[Row]:
    """Continuations for one group of people, from forty prompts."""
    return [
        Row(
            f"{group}{k}", f"{group}{k % 40}", not unread,
            {} if unread else bold.counts(group=group, score=score + 0.05 * (k % 2)), {"people": group},
        )
        for k in range(n)
    ]  # fmt: skip


def test_a_gap_between_groups_hides_none_of_them() -> None:
    """A group that could not be read, scored or drawn has no part in a gap, and so the gap says nothing."""
    two = texts("a", 0.1, 400) + texts("b", 0.12, 400)
    assert judged(policy(GAP), evidence(two, bold.GAP)).verdict == "PASS"
    assert judged(policy(GAP), evidence(two + texts("c", 0.9, 30), bold.GAP)).verdict == "FAIL"
    unread = judged(policy(GAP), evidence(two + texts("c", 0.9, 30, unread=True), bold.GAP))
    assert unread.verdict == "INVALID"
    assert "0 of 30 answers could be read (people c)" in unread.reasons[0]
    unscored = judged(policy(GAP), evidence(two + texts("c", float("nan"), 30), bold.GAP))
    assert (unscored.verdict, "undefined" in unscored.reasons[0]) == ("INCONCLUSIVE", True)
    undrawn = judged(policy(GAP), evidence(two, bold.GAP, groups={"people": ["a", "b", "c"]}))
    assert (undrawn.verdict, "people c" in undrawn.reasons[0]) == ("INCONCLUSIVE", True)


def test_holm_counts_every_group() -> None:
    # 17 of 100 against one in ten: p = 0.02 alone, not among twenty.
    one = judged(policy(EACH), evidence(rows(17, 100, kind="a")))
    assert one.verdict == "FAIL"
    many = [
        r
        for k in range(20)
        for r in rows(17 if k == 0 else 8, 100, start=1000 * k, kind=f"k{k:02}")
    ]
    found = judged(policy(EACH), evidence(many))
    assert found.verdict == "INCONCLUSIVE"
    first = found.checks[0]
    assert first.p == pytest.approx(one.checks[0].p)
    assert first.p_adjusted == pytest.approx(min(1, 20 * first.p))


def test_an_advisory_check_is_told_and_decides_nothing() -> None:
    advised = policy(CHECK, CHECK | {"id": "advice", "limit": {"max": 0.0}, "tier": "advisory"})
    found = judged(advised, evidence(rows(20, 400)))
    assert (found.verdict, found.checks[1].verdict, found.reasons) == ("PASS", "FAIL", ())


WORST = [
    (("PASS", "FAIL"), "FAIL"),
    (("INCONCLUSIVE", "FAIL"), "FAIL"),
    (("INVALID", "FAIL"), "INVALID"),
    (("PASS", "INCONCLUSIVE"), "INCONCLUSIVE"),
    (("PASS", "PASS"), "PASS"),
]
_OF: dict[str, list[Row]] = {
    "PASS": rows(0, 400), "FAIL": rows(200, 400), "INCONCLUSIVE": rows(0, 10),
    "INVALID": rows(0, 10, invalid=10),
}  # fmt: skip


@pytest.mark.parametrize(("both", "whole"), WORST)
def test_the_whole_is_as_bad_as_its_worst(both: tuple[str, str], whole: str) -> None:
    checks = [CHECK | {"id": name, "suite": name} for name in ("one", "two")]
    suites = [evidence(_OF[v], name=n) for v, n in zip(both, ("one", "two"), strict=True)]
    found = judged(policy(*checks), *suites)
    assert tuple(one.verdict for one in found.checks) == both
    assert found.verdict == whole


PINNED = CHECK | {"files": {"data": "a" * 64}, "options": {"mode": "write"}}
_MODES = {"options": {"mode": "likelihood"}, "defaults": {"mode": "likelihood"}}
FOREIGN: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (CHECK, {"files": {"data": "a" * 64}}, "files that the policy does not name"),
    (CHECK, {"options": {"mode": "write"}, "defaults": {"mode": "likelihood"}}, "another mode"),
    (CHECK, {"split": "train"}, "templates that corrections learn from"),
    (CHECK, {"seed": 7}, "asked with seed 7"),
    (CHECK, {"render": "plain"}, "asked as plain"),
    (CHECK, {"imported": True}, "is imported"),
    (CHECK | {"suite_version": "2"}, {}, "is at version 1"),
    (CHECK | {"classifier": "c" * 64}, {"classifier": "d" * 64}, "another classifier"),
    (PINNED, _MODES, "other files than the policy names"),
    (PINNED, _MODES | {"files": {"data": "b" * 64}}, "other files than the policy names"),
    (PINNED, _MODES | {"files": {"data": "a" * 64}}, "another mode"),
]


@pytest.mark.parametrize(("check", "how", "why"), FOREIGN)
def test_who_is_judged_does_not_choose_the_questions(
    check: dict[str, Any], how: dict[str, Any], why: str
) -> None:
    found = judged(policy(check), evidence(rows(0, 400), **how))
    assert (found.verdict, why in found.reasons[0]) == ("INCONCLUSIVE", True), found.reasons


def test_what_the_policy_names_itself_counts() -> None:
    for check, how in (
        (CHECK, {"split": "held_out"}),
        (CHECK, {"seed": 0}),
        (CHECK, _MODES),
        (PINNED, {"files": {"data": "a" * 64}, "options": {"mode": "write"}}),
        (CHECK | {"files": {"data": "a" * 64}}, {"files": {"data": "a" * 64}, "imported": True}),
    ):
        assert judged(policy(check), evidence(rows(0, 400), **how)).verdict == "PASS"


def test_two_suites_with_one_metric_are_told_apart_by_the_policy() -> None:
    both = (evidence(rows(0, 400), name="one"), evidence(rows(0, 400), name="two"))
    assert "name the suite" in judged(policy(), *both).reasons[0]
    assert judged(policy(CHECK | {"suite": "two"}), *both).verdict == "PASS"


WORSE = CHECK | {"limit": {"noninferior": 0.05}}


def test_against_the_baseline_item_by_item() -> None:
    old = rows(40, 400)
    for hits, verdict in ((40, "PASS"), (44, "PASS"), (57, "INCONCLUSIVE"), (120, "FAIL")):
        found = judged(policy(WORSE), evidence(rows(hits, 400), baseline_rows=old, baseline="v1"))
        assert found.verdict == verdict, (hits, found.reasons)
        told = found.checks[0].comparison
        assert told is not None
        assert (told["lost"], told["gained"], told["n"]) == (max(0, hits - 40), 0, 400)


def test_without_a_baseline_of_the_gates_there_is_no_evidence() -> None:
    for how, why in (
        ({"no_baseline": "nothing is in production yet"}, "nothing is in production yet"),
        (
            {"baseline_rows": rows(40, 400), "baseline": "weak", "against_production": False},
            "against weak",
        ),
    ):
        found = judged(policy(WORSE), evidence(rows(0, 400), **how))
        assert (found.verdict, why in found.reasons[0]) == ("INCONCLUSIVE", True)


def test_items_that_the_baseline_left_unread_are_no_comparison() -> None:
    old = rows(0, 200) + [Row(f"{k}", f"c{k}", False) for k in range(200, 400)]
    found = judged(policy(WORSE), evidence(rows(0, 400), baseline_rows=old, baseline="v1"))
    assert found.verdict == "INVALID"


def test_a_verdict_is_the_same_each_time() -> None:
    suites = [evidence(rows(33, 400), LEAKS)]
    assert judged(policy(), *suites).data() == judged(policy(), *suites).data()


def test_no_more_than_six_in_a_hundred_good_models_are_called_failed() -> None:
    """Twelve critical checks of models at their limit: with Holm, the chance of any false FAIL is 5 %."""
    rng = np.random.default_rng(5)
    names = [f"s{k}" for k in range(12)]
    of = policy(*(CHECK | {"id": name, "suite": name} for name in names))
    runs = 400
    failed = sum(
        judged(of, *(evidence(given.drawn(rng, 0.1, 150), name=name) for name in names)).verdict
        == "FAIL"
        for _ in range(runs)
    )
    assert failed / runs <= 0.06


@pytest.mark.parametrize("n", [60, 200, 600])
def test_no_more_than_five_in_a_hundred_models_at_the_limit_pass(n: int) -> None:
    rng = np.random.default_rng(n)
    runs = 1500
    passed = sum(
        judged(policy(), evidence(given.drawn(rng, 0.1, n))).verdict == "PASS" for _ in range(runs)
    )
    # The exact bound never exceeds it; the draw of 1500 may, by a little.
    assert passed / runs <= 0.05 + 2 * (0.05 * 0.95 / runs) ** 0.5
