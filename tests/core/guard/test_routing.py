"""The router: who is shown what, that it never decides what is said, and that without a vector all is shown."""

import asyncio
import random
from collections.abc import Sequence

import numpy as np
import pytest

from core.classifiers import listed
from core.errors import Unavailable
from core.guard.guard import Guard
from core.guard.judging import Judging, Looks
from core.guard.passage import Stretch
from core.guard.routing import Similarity
from core.guard.settings import Router
from core.guard.vectors import Rows
from tests.guarding import guard, spoken
from tests.waiting import eventually

JUDGE = {"name": "penstock-lexical@1", "categories": {"hate": 0.5}, "budget_ms": 5000}
PARTS = (
    "The river is high. ", "I hate all of them! ", "Mail jane.doe@example.com today. ", "b a d w o r d?\n",
    "EMP-123456 hates rivers. ", "It is late", "\u4f60\u597d\u3002", "Pay 4111 1111 1111 1111. ", "hate ",
    "kill yourself. ",
)  # fmt: skip


class Hater:
    """Finds "hate", and keeps what it was shown."""

    name, digest, categories = "hater@1", "0" * 64, ("hate",)
    card = listed.classifier("penstock-lexical@1").card

    def __init__(self) -> None:
        self.shown: list[str] = []

    def scores(self, texts: Sequence[str]) -> list[dict[str, float]]:
        self.shown += texts
        return [{"hate": float("hate" in text)} for text in texts]


class Compass:
    """Vectors by hand: of the words that it knows, east, north or nowhere; `broken`: fails in its place."""

    def __init__(self, vectors: dict[str, Sequence[float]], broken: Exception | None = None):
        self.vectors, self.broken, self.asked = vectors, broken, 0

    async def of(self, texts: Sequence[str]) -> Rows:
        self.asked += 1
        if self.broken is not None:
            raise self.broken
        return np.array([self.vectors[one] for one in texts], np.float32)


KNOWN: dict[str, Sequence[float]] = {
    "kill him": (2.0, 0.0), "stop a program": (0.0, 1.0), "end him": (0.9, 0.44), "kill the process": (0.6, 0.8),
    "the river": (-1.0, 0.0), "too long": (np.nan, np.nan), "nothing": (0.0, 0.0),
}  # fmt: skip


async def _router(compass: Compass) -> Similarity:
    wanted = Router(examples=["kill him"], contrast=["stop a program"], threshold=0.5)
    found = Similarity(wanted, compass.of)
    await found.prepare()
    return found


async def test_likeness_is_held_against_the_harmless() -> None:
    router = await _router(Compass(KNOWN))
    told = await router.looks(["end him", "kill the process", "the river"])
    assert told == [True, False, False]


async def test_what_has_no_vector_is_shown() -> None:
    router = await _router(Compass(KNOWN))
    assert await router.looks(["too long", "nothing", "the river"]) == [True, True, False]


async def test_until_the_examples_have_vectors_nothing_is_routed() -> None:
    compass = Compass(KNOWN)
    router = Similarity(Router(examples=["kill him"]), compass.of)
    with pytest.raises(Unavailable):
        await router.looks(["the river"])
    # It has them made by itself, once, and then goes on.
    await router.begun()
    assert await router.looks(["the river"]) == [False]
    assert compass.asked == 2


@pytest.mark.parametrize("example", ["too long", "nothing"])
async def test_an_example_without_a_vector_is_no_router(example: str) -> None:
    router = Similarity(Router(examples=[example]), Compass(KNOWN).of)
    with pytest.raises(Unavailable):
        await router.prepare()


async def _judged(
    by: Guard, judge: Hater, looks: Looks | None, text: str, sizes: Sequence[int]
) -> list[Stretch]:
    passage, judging, out, at = by.passage(), Judging(by, judge, looks), [], 0
    for size in sizes:
        out += await judging.judged(passage.feed(text[at : at + size]))
        at += size
    return out + await judging.judged([*passage.feed(text[at:]), *passage.finish()])


def _by(mode: str = "enforce") -> Guard:
    return guard(mode=mode, classifier=JUDGE, actions={"hate": {"action": "mask"}})


@pytest.mark.parametrize("broken", [OSError("gone"), Unavailable("away"), KeyError("x")])
@pytest.mark.parametrize("mode", ["enforce", "observe"])
async def test_a_router_that_fails_shows_everything_and_says_so(
    broken: Exception, mode: str
) -> None:
    compass = Compass(KNOWN)
    router = await _router(compass)
    compass.broken = broken
    judge, by = Hater(), _by(mode)
    text = "The river is high. I hate all of them. It is late"
    found = await _judged(by, judge, router.looks, text, [])
    assert judge.shown == ["The river is high.", "I hate all of them.", "It is late"]
    hits = [hit for one in found for span in (*one.spans, *one.seen) for hit in span.hits]
    assert hits.count(("unrouted", "observe")) == 3
    said = "The river is high. [hate] It is late" if mode == "enforce" else text
    assert spoken(found) == said


async def test_a_router_that_never_answers_leaves_the_classifier_its_time() -> None:
    async def never(_: Sequence[str]) -> list[bool]:
        await asyncio.Event().wait()
        return []

    judge, short = Hater(), {**JUDGE, "budget_ms": 400}
    by = guard(classifier=short, actions={"hate": {"action": "mask"}})
    assert spoken(await _judged(by, judge, never, "I hate all of them.", [])) == "[hate]"


async def test_a_router_that_decides_too_little_decides_nothing() -> None:
    async def few(_: Sequence[str]) -> list[bool]:
        return [False]

    judge = Hater()
    found = await _judged(_by(), judge, few, "I hate all of them. Mail me. Go.", [])
    assert spoken(found) == "[hate] Mail me. Go."


@pytest.mark.parametrize("seed", range(200))
async def test_only_the_classifiers_word_depends_on_the_router(seed: int) -> None:
    """What every other rule does is the same whatever the router says, and however the text was cut."""
    chance = random.Random(seed)
    text = "".join(chance.choices(PARTS, k=8))
    share = chance.choice([0.0, 0.3, 1.0])

    async def looks(sentences: Sequence[str]) -> list[bool]:
        # The same for the same sentence, as vectors are.
        return [random.Random(f"{seed} {one}").random() < share for one in sentences]

    sizes = chance.choices([1, 2, 5, 30], k=200)
    routed, cut, plain = Hater(), Hater(), Hater()
    by = _by()
    whole = await _judged(by, routed, looks, text, [])
    pieces = await _judged(by, cut, looks, text, sizes)
    assert spoken(pieces) == spoken(whole)
    assert sorted(cut.shown) == sorted(routed.shown)
    everything = await _judged(by, plain, None, text, [])
    assert set(routed.shown) <= set(plain.shown)
    assert _without(whole, "hate") == _without(everything, "hate")
    # A sentence that was not shown leaves as the other rules leave it; one that was, as it would without a router.
    for here, there in zip(whole, everything, strict=True):
        assert here.raw == there.raw
        told = any(category == "hate" for span in here.spans for category, _ in span.hits)
        assert not told or here == there


def _without(stretches: Sequence[Stretch], category: str) -> list[list[tuple[str, str]]]:
    return [
        sorted(h for span in (*one.spans, *one.seen) for h in span.hits if h[0] != category)
        for one in stretches
    ]


async def test_it_tries_again_for_its_examples() -> None:
    compass = Compass(KNOWN, Unavailable("no worker yet"))
    router = Similarity(Router(examples=["kill him"]), compass.of, again_s=0)
    with pytest.raises(Unavailable):
        await router.looks(["the river"])
    await router.begun()
    compass.broken = None

    async def routed() -> bool:
        try:
            return await router.looks(["the river"]) == [False]
        except Unavailable:
            return False

    await eventually(routed, "the examples")
