"""Eighteen checks without a fault block a release once in twenty times, not three times in five."""

import numpy as np

from core.measures import families


def test_holm_on_an_example_by_hand() -> None:
    assert families.holm([0.01, 0.04, 0.03, 0.005]) == [0.03, 0.06, 0.06, 0.02]
    assert families.holm([]) == []
    assert families.holm([0.7, 0.9]) == [1.0, 1.0]


def test_benjamini_and_hochberg_on_an_example_by_hand() -> None:
    adjusted = families.benjamini_hochberg([0.01, 0.04, 0.03, 0.005])
    assert np.allclose(adjusted, [0.02, 0.04, 0.04, 0.02])
    assert families.benjamini_hochberg([]) == []


def test_any_false_alarm_among_18_checks_is_rare() -> None:
    rng = np.random.default_rng(0)
    p = rng.random((4000, 18))
    assert 0.55 < np.mean(p.min(axis=1) < 0.05) < 0.65
    blocked = np.mean([min(families.holm(one)) < 0.05 for one in p])
    assert blocked <= 0.06


def test_so_it_is_when_the_checks_depend_on_each_other() -> None:
    rng = np.random.default_rng(1)
    shared = rng.random((4000, 1))
    p = np.where(rng.random((4000, 18)) < 0.8, shared, rng.random((4000, 18)))
    assert np.mean([min(families.holm(one)) < 0.05 for one in p]) <= 0.06


def test_of_what_exploration_finds_a_twentieth_is_false() -> None:
    rng = np.random.default_rng(2)
    false = []
    for _ in range(1000):
        p = np.concatenate([rng.random(80), rng.random(20) * 1e-3])
        found = np.asarray(families.benjamini_hochberg(list(p)), float) < 0.05
        false.append(found[:80].sum() / max(1, found.sum()))
    assert np.mean(false) <= 0.05
