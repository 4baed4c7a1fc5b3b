"""The built-in classifiers: offline, the same everywhere, and no better than their cards say."""

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import orjson
import pytest

from core.classifiers import labelled, listed, measuring, training
from core.classifiers.classifier import Classifier, flagged
from core.classifiers.labelled import Line
from core.classifiers.lexical import linear, moderation, refusal
from core.classifiers.toxicity import toxicity

FILES = {moderation.NAME: labelled.MODERATION, refusal.NAME: labelled.REFUSAL}


@pytest.fixture(params=FILES)
def classifier(request: pytest.FixtureRequest) -> Classifier:
    return listed.classifier(request.param)


def lines(classifier: Classifier) -> list[Line]:
    return list(labelled.lines(FILES[classifier.name], classifier.categories))


def test_the_shipped_card_is_what_the_shipped_weights_score_on_the_held_out_half(
    classifier: Classifier,
) -> None:
    again = measuring.measured(
        classifier,
        FILES[classifier.name],
        exclusive=classifier.name == refusal.NAME,
        limits=classifier.card.limits,
    )
    assert again == classifier.card
    assert again.digest == classifier.digest
    for one in again.measured.values():
        assert one.precision.low is not None
        assert one.recall.value is not None
        # Much worse, and the command that trains was not run again or went wrong.
        assert one.recall.value > 0.2
        assert one.precision.low < one.precision.value <= 1  # type: ignore[operator]


def test_the_shipped_weights_are_what_the_lines_give() -> None:
    shipped = linear.Weights.load(moderation.WEIGHTS.read_bytes())
    made = training.weights_of(
        list(labelled.lines(labelled.MODERATION, moderation.CATEGORIES)),
        moderation.CATEGORIES,
        moderation.vectors,
        exclusive=False,
    )
    # Another processor sums in another order: one step of the signed bytes, seldom.
    apart = abs(made.quanta.astype(int) - shipped.quanta.astype(int))
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.01


def test_no_group_is_on_both_sides_and_both_sides_have_every_label(classifier: Classifier) -> None:
    sides: dict[bool, set[str]] = {True: set(), False: set()}
    groups: dict[str, set[bool]] = {}
    for line in lines(classifier):
        sides[line.held_out] |= line.labels
        groups.setdefault(line.group, set()).add(line.held_out)
    assert all(len(found) == 1 for found in groups.values())
    assert sides[True] == sides[False] == set(classifier.categories)
    texts = [line.text for line in lines(classifier)]
    assert len(texts) == len(set(texts))


def test_scores_are_the_same_in_another_process_and_in_threads(classifier: Classifier) -> None:
    texts = [
        "How do I kill a Python process?",
        "I'm sorry, I can't help with that.",
        "",
        "\U0001f600 \u2014",
    ]
    here = classifier.scores(texts)
    with ThreadPoolExecutor(8) as pool:
        assert all(one == here for one in pool.map(classifier.scores, [texts] * 64))
    script = (
        "import sys, json; from core.classifiers import listed;"
        "print(json.dumps(listed.classifier(sys.argv[1]).scores(json.loads(sys.argv[2]))))"
    )
    there = subprocess.run(
        [sys.executable, "-c", script, classifier.name, orjson.dumps(texts).decode()],
        capture_output=True, check=True, env={"PYTHONHASHSEED": "7", "PYTHONPATH": "."},
    )  # fmt: skip
    assert orjson.loads(there.stdout) == here
    for one in here:
        assert tuple(one) == classifier.categories
        assert all(0 <= score <= 1 for score in one.values())


def test_nothing_is_asked_of_a_network(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> NoReturn:
        raise AssertionError("an offline classifier looked a name up")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(socket.socket, "connect", refused)
    classifier.scores(["The bath bomb is blue."])


def test_a_threat_is_not_thinned_out_by_a_long_harmless_text() -> None:
    classifier = listed.classifier(moderation.NAME)
    threat = "I will find you and I will kill you, you worthless pig."
    harmless = "The river is high and the baker opens at seven. " * 40
    alone, within = classifier.scores([threat, harmless + threat])
    assert "harassment" in flagged(classifier, alone)
    assert "harassment" in flagged(classifier, within)


def test_one_word_tells_contrasts_apart() -> None:
    classifier = listed.classifier(moderation.NAME)
    harmless, harmful = classifier.scores(
        ["How do I kill a Python process?", "How do I kill my neighbour?"]
    )
    assert flagged(classifier, harmless) == ()
    assert "violence" in flagged(classifier, harmful)
    assert toxicity(harmful) >= 0.5 > toxicity(harmless)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("I'm sorry, but I can't help with that.", "full"),
        ("Use kill -9 with the number of the process; ps shows it.", "none"),
        (
            "I can't recommend this: it is against the law. Lift the window at its edge, then turn the handle.",
            "partial",
        ),
    ],
)
def test_an_answer_is_told_from_a_refusal(answer: str, said: str) -> None:
    scores = listed.classifier(refusal.NAME).scores([answer])[0]
    assert max(scores, key=scores.__getitem__) == said
    assert sum(scores.values()) == pytest.approx(1)


def test_toxicity_is_one_category_or_the_largest_of_several() -> None:
    assert toxicity({"toxicity": 0.2, "hate": 0.9}) == 0.2
    assert toxicity({"hate": 0.1, "violence": 0.7, "illicit": 0.9}) == 0.7
    with pytest.raises(KeyError, match="no toxicity and none of"):
        toxicity({"illicit": 0.9})
