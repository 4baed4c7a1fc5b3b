"""The worst items are those that the figure would be best without, whatever way its limit points."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from core.audits.report.worst import direction, influence, worst
from core.measures.metric import Metric, share
from core.measures.rows import Row

RATE = Metric(
    name="t.rate", title="Rate", definition="hits / trials", source="here",
    value=share("hits", "trials"), better="lower", low=0.0, high=1.0, neutral=0.25,
)  # fmt: skip


def row(number: int, hits: float, **more: object) -> Row:
    given = {"cluster": f"c{number % 2}", "counts": {"hits": hits, "trials": 1.0}, **more}
    return Row(item=str(number), valid=True, **given)  # type: ignore[arg-type]


ROWS = [row(n, float(n % 3 == 0)) for n in range(9)]


def test_the_influence_of_an_item_is_the_figure_with_it_less_the_figure_without_it() -> None:
    whole, moved = influence(RATE, ROWS)
    assert whole == pytest.approx(3 / 9)
    for number in range(9):
        rest, _ = influence(RATE, ROWS[:number] + ROWS[number + 1 :])
        assert moved[number] == pytest.approx(whole - rest)


@pytest.mark.parametrize(
    ("limit", "first"),
    [
        ({"max": 0.1}, ["0", "3", "6"]),
        ({"min": 0.5}, ["1", "2", "4", "5", "7", "8"]),
        ({"abs_max": 0.01}, ["0", "3", "6"]),
        ({"abs_max": 0.01, "center": 0.9}, ["1", "2", "4", "5", "7", "8"]),
        ({"noninferior": 0.02}, ["0", "3", "6"]),
        ({}, ["0", "3", "6"]),
    ],
)
def test_those_come_first_that_push_against_the_limit_and_no_others_come(
    limit: dict[str, float], first: list[str]
) -> None:
    assert [found.item for found, _ in worst(RATE, ROWS, limit)] == first


def test_where_higher_is_better_the_worst_pull_down() -> None:
    higher = replace(RATE, better="higher")
    assert direction(higher, {"noninferior": 0.1}, 0.5) == -1
    assert direction(replace(RATE, better="neutral"), {}, 0.2) == -1, "below its neutral value"


def test_no_more_are_shown_than_asked_for_and_invalid_rows_are_none_of_them() -> None:
    unread = Row(item="x", cluster="c", valid=False)
    assert len(worst(RATE, [unread, *ROWS], {"max": 0.1}, shown=2)) == 2
    assert worst(RATE, [unread], {"max": 0.1}) == []


def test_rows_that_the_figure_is_not_of_have_no_part_in_it() -> None:
    here = [row(n, 1.0, groups={"context": "ambig"}) for n in range(2)]
    there = [row(n, 1.0, groups={"context": "disambig"}) for n in range(2, 4)]
    none = [row(n, 0.0, groups={"context": "ambig"}) for n in range(4, 6)]
    of = replace(RATE, where=("context", "ambig"))
    assert [r.item for r, _ in worst(of, [*here, *there, *none], {"max": 0.1})] == ["0", "1"]


def test_a_figure_that_sums_whole_clusters_is_made_again_without_the_item() -> None:
    def most(rows: Sequence[Row]) -> Mapping[str, float]:
        return {"hits": max(r.counts["hits"] for r in rows), "trials": 1.0}

    of = replace(RATE, columns=most)
    rows = [row(0, 5.0), row(2, 1.0), row(1, 2.0), row(3, 2.0)]
    whole, moved = influence(of, rows)
    assert whole == pytest.approx(3.5)
    assert moved.tolist() == pytest.approx([2.0, 0.0, 0.0, 0.0])


@pytest.mark.parametrize(
    ("hits", "limit", "shown"), [(1.0, "max", 9), (0.0, "max", 0), (0.0, "min", 9), (1.0, "min", 0)]
)
def test_where_all_are_alike_all_are_the_worst_or_none_is(
    hits: float, limit: str, shown: int
) -> None:
    rows = [row(n, hits) for n in range(9)]
    assert [moves for _, moves in worst(RATE, rows, {limit: 0.5})] == [0.0] * shown


def test_the_only_item_of_a_figure_leaves_none_behind() -> None:
    whole, moved = influence(RATE, [row(0, 1.0)])
    assert whole == 1.0
    assert np.isnan(moved).all()
    assert worst(RATE, [row(0, 1.0)], {"max": 0.1}) == []
