"""The checker itself: a story that breaks a promise must not pass it."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.faults.invariants import CHARGED, charged, one_story, right_answer
from tests.faults.load import Answer

GOOD = [
    (1, "job.queued", 0),
    (2, "job.started", 1),
    (9, "job.requeued", 1),
    (10, "job.started", 2),
    (15, "job.succeeded", 2),
]


WANTED = Answer("a b", 2, "length", 3, (0, 1))


def told(story: list[tuple[int, str, int]]) -> list[Any]:
    return [
        SimpleNamespace(seq=seq, type=kind, attempt=attempt, data={"reason": "worker_lost"})
        for seq, kind, attempt in story
    ]


def job(**other: Any) -> Any:
    result = {"text": "a b", "finish_reason": "length"}
    usage = {"completion_tokens": 2, "prompt_tokens": 3}
    row = {"id": "j", "state": "succeeded", "attempt": 2, "failures": 1, "seq": 15}
    rest = {"lease_until": None, "result": result, "usage": usage}
    return SimpleNamespace(**row | rest | other)


def test_a_good_story_passes() -> None:
    one_story(job(), told(GOOD))
    right_answer(job(), WANTED)
    one = {"completion_tokens": 1, "prompt_tokens": 3}
    right_answer(job(state="cancelled", result={"text": "a"}, usage=one), WANTED)
    for prompt in (0, 3):
        none = {"completion_tokens": 0, "prompt_tokens": prompt}
        right_answer(job(state="cancelled", result=None, usage=none), WANTED)


@pytest.mark.parametrize(
    ("story", "row"),
    [
        (GOOD[:-1], {}),
        ([*GOOD, (16, "job.cancelled", 2)], {"seq": 16}),
        (GOOD[1:], {}),
        ([*GOOD[:2], *GOOD[3:]], {}),
        ([*GOOD[:3], (9, "job.started", 2), GOOD[4]], {}),
        ([*GOOD[:3], (10, "job.started", 1), (15, "job.succeeded", 1)], {"attempt": 1}),
        ([GOOD[0], (2, "job.succeeded", 0)], {"seq": 2, "attempt": 0, "failures": 0}),
        (GOOD, {"seq": 16}),
        (GOOD, {"failures": 2}),
        (GOOD, {"state": "failed"}),
        (GOOD, {"lease_until": "later"}),
    ],
    ids=[
        "no end", "two ends", "no beginning", "started twice", "number twice", "attempt twice",
        "ended unstarted", "row ahead", "charged twice", "other end", "leased",
    ],
)  # fmt: skip
def test_a_broken_story_is_caught(story: list[tuple[int, str, int]], row: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        one_story(job(**row), told(story))


@pytest.mark.parametrize(
    "other",
    [
        {"result": {"text": "a b b", "finish_reason": "length"}},
        {"result": {"text": "a b", "finish_reason": "stop"}},
        {"usage": {"completion_tokens": 3, "prompt_tokens": 3}},
        {"usage": {"completion_tokens": 2, "prompt_tokens": 6}},
        {"state": "cancelled", "result": {"text": "b"}},
        {"state": "cancelled", "result": {"text": "a"}},
        {"state": "cancelled", "result": {"text": "a"},
         "usage": {"completion_tokens": 1, "prompt_tokens": 0}},
        {"state": "cancelled", "result": None, "usage": {"completion_tokens": 1, "prompt_tokens": 3}},
    ],
    ids=["repeated text", "other reason", "charged twice", "prompt twice", "no beginning",
         "charged unsaid", "prompt for nothing", "said nothing"],
)  # fmt: skip
def test_a_wrong_answer_is_caught(other: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        right_answer(job(**other), WANTED)


def row(**other: Any) -> Any:
    told = dict.fromkeys(CHARGED, 1) | {"id": "j", "settled_at": "now", "cost": 0}
    return SimpleNamespace(**told | other)


def test_a_ledger_that_says_what_jobs_took_passes() -> None:
    jobs = {"j": job(usage=dict.fromkeys((*CHARGED, "total_tokens"), 1) | {"total_tokens": 2})}
    assert charged(jobs, [row()]) == 2


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [row(), row(id="another")],
        [row(settled_at=None)],
        [row(cost=None)],
        [row(completion_tokens=2)],
        [row(engine_seconds=0)],
    ],
    ids=["no row", "a row of nothing", "reserved", "no cost", "twice", "no time"],
)
def test_a_wrong_ledger_is_caught(rows: list[Any]) -> None:
    jobs = {"j": job(usage=dict.fromkeys((*CHARGED, "total_tokens"), 1) | {"total_tokens": 2})}
    with pytest.raises(AssertionError):
        charged(jobs, rows)
