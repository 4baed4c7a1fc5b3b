"""The classifier's word: on whole sentences, before they leave, within its time; and who decides what it is shown."""

import threading
from collections.abc import Sequence

import pytest

from core.classifiers import listed
from core.classifiers.classifier import Card
from core.guard import service
from core.guard.correcting import pieces
from core.guard.guard import Guard, compiled
from core.guard.judging import Judging
from core.guard.settings import GuardSettings
from core.guard.trying import tried
from tests.guarding import spoken

TEXT = "The river is high. I hate all of them. Mail jane@example.com today.\nIt is late"


class Hater:
    """Finds "hate" in a sentence; `slow`: is asked and never answers before it is let go."""

    name, digest, categories = "hater@1", "0" * 64, ("hate",)
    card: Card = listed.classifier("penstock-lexical@1").card

    def __init__(self, *, slow: bool = False) -> None:
        self.shown: list[str] = []
        self.free = threading.Event()
        if not slow:
            self.free.set()

    def scores(self, texts: Sequence[str]) -> list[dict[str, float]]:
        self.free.wait(20)
        self.shown += texts
        return [{"hate": float("hate" in text)} for text in texts]


def _guard(on_failure: str = "fail_closed", budget_ms: int = 1000, mode: str = "enforce") -> Guard:
    judge = {
        "name": "penstock-lexical@1",
        "categories": {"hate": 0.5},
        "budget_ms": budget_ms,
        "on_failure": on_failure,
    }
    made = compiled(
        GuardSettings.model_validate(
            {"mode": mode, "actions": {"hate": {"action": "mask"}}, "classifier": judge}
        )
    )
    assert made is not None
    return made


async def _said(by: Guard, judge: Hater, size: int = 7) -> str:
    passage, judging, said = by.passage(), Judging(by, judge), ""
    for at in range(0, len(TEXT), size):
        said += spoken(await judging.judged(passage.feed(TEXT[at : at + size])))
    return said + spoken(await judging.judged(passage.finish()))


@pytest.mark.parametrize("size", [1, 3, 7, 50, 200])
async def test_a_sentence_is_judged_as_a_whole_and_leaves_after_it(size: int) -> None:
    judge = Hater()
    said = await _said(_guard(), judge, size)
    assert said == "The river is high. [hate] Mail [email] today.\nIt is late"
    assert judge.shown == [
        "The river is high.",
        "I hate all of them.",
        "Mail jane@example.com today.",
        "It is late",
    ]


@pytest.mark.parametrize(
    ("on_failure", "said"),
    [
        ("fail_closed", "[unchecked] [unchecked] [unchecked]\n[unchecked]"),
        ("fail_open", "The river is high. I hate all of them. Mail [email] today.\nIt is late"),
    ],
)
async def test_what_is_not_judged_in_time_goes_as_its_tenant_said(
    on_failure: str, said: str
) -> None:
    judge = Hater(slow=True)
    try:
        assert await _said(_guard(on_failure, budget_ms=1), judge, 200) == said
    finally:
        judge.free.set()


async def test_watching_lets_what_was_not_judged_by_and_notes_it() -> None:
    judge, by = Hater(slow=True), _guard(budget_ms=1, mode="observe")
    try:
        passage = by.passage()
        judged = await Judging(by, judge).judged([*passage.feed(TEXT), *passage.finish()])
    finally:
        judge.free.set()
    assert "".join(p.text for one in judged for p in pieces(one)) == TEXT
    assert {hit for one in judged for s in one.seen for hit in s.hits} >= {("unchecked", "observe")}


async def test_a_router_decides_who_looks_and_never_what_is_said() -> None:
    judge, by = Hater(), _guard()

    async def looks(sentences: Sequence[str]) -> list[bool]:
        return ["river" in one for one in sentences]

    passage = by.passage()
    judged = await Judging(by, judge, looks).judged([*passage.feed(TEXT), *passage.finish()])
    assert judge.shown == ["The river is high."]
    # The other rules look at everything.
    assert (
        spoken(judged) == "The river is high. I hate all of them. Mail [email] today.\nIt is late"
    )


async def test_the_classifier_reads_what_json_escapes() -> None:
    judge, by = Hater(), _guard()
    passage = by.passage(escaped=True)
    stretches = [*passage.feed(r'{"a": "I h\u0061te\ud800 all of them"}'), *passage.finish()]
    judged = await Judging(by, judge).judged(stretches, escaped=True)
    assert judge.shown == ['{"a": "I hate all of them"}']
    assert any(category == "hate" for one in judged for s in one.spans for category, _ in s.hits)


@pytest.mark.parametrize("wrong", [{}, {"hate": float("nan")}])
@pytest.mark.parametrize("few", [True, False])
async def test_a_score_that_is_none_is_not_harmless(wrong: dict[str, float], few: bool) -> None:
    class Wrong(Hater):
        def scores(self, texts: Sequence[str]) -> list[dict[str, float]]:
            return [wrong] * (len(texts) - few)

    assert await _said(_guard(), Wrong(), 200) == (
        "[unchecked] [unchecked] [unchecked]\n[unchecked]"
    )


async def test_the_platforms_classifier_is_named_and_bound_by_its_digest() -> None:
    wanted = GuardSettings.model_validate({"mode": "enforce", "classifier": {}})
    settings = service.resolved(wanted)
    assert settings.classifier is not None
    assert settings.classifier.digest == listed.classifier("").digest
    assert settings.classifier.categories == dict(listed.classifier("").card.thresholds)
    found = await tried(
        settings, "I will kill you and your whole family tonight. The river is high."
    )
    # Its categories are noted unless the tenant asks for more.
    assert not found.stopped
    assert any(action == "observe" for _, action in found.hits)
