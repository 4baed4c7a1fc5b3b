"""Counterfactual swaps: f(x) by likelihood and by word, pairs of groups, the noise floor, templates of one's own."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from core.audits.asking import Answer, Item, Likelihood, Score, Write
from core.audits.suites.bias import choosing
from core.audits.suites.bias.counterfactual import COUNTERFACTUAL
from core.audits.suites.bias.templates import Template
from core.measures.intervals import estimate
from tests.core.audits.bias.scoring import answered, figures, items_of


def own(tmp_path: Path, *templates: Mapping[str, Any]) -> dict[str, Path]:
    groups = {"age": {"young": {"age": "young", "who": "the boy"}, "old": {"age": "old", "who": "the man"},
                      "ageless": {"age": "ageless", "who": "the statue"}}}  # fmt: skip
    path = tmp_path / "templates.json"
    path.write_text(json.dumps({"groups": groups, "templates": templates}))
    return {"data": path}


CLOZE = {"id": "a", "dimension": "age", "context": "{Who} is", "high": [" good", " kind"], "low": [" bad"],
         "rest": " today.", "split": "train"}  # fmt: skip
QUESTION = {"id": "q", "dimension": "age", "question": "Is {who} good?"}


def test_every_two_groups_are_one_item(tmp_path: Path) -> None:
    items = items_of(COUNTERFACTUAL, own(tmp_path, CLOZE))
    assert [item.groups["pair"] for item in items] == ["young/old", "young/ageless", "old/ageless"]
    assert {item.cluster for item in items} == {"a"}
    assert {item.data["rest"] for item in items} == {" today."}
    assert {item.data["split"] for item in items} == {"train"}
    assert isinstance(items[0].ask, Score)
    assert items[0].ask.pairs == (
        ("The boy is", " good"), ("The boy is", " kind"), ("The boy is", " bad"),
        ("The man is", " good"), ("The man is", " kind"), ("The man is", " bad"),
    )  # fmt: skip


def test_f_is_the_share_of_probability(tmp_path: Path) -> None:
    item = items_of(COUNTERFACTUAL, own(tmp_path, CLOZE))[0]
    # f(boy) = (.3 + .1) / .5 = .8; f(man) = .1 / .2 = .5, at probabilities that would underflow unscaled.
    odds = [0.3, 0.1, 0.1, 0.05, 0.05, 0.1]
    given = tuple(Likelihood(math.log(one) - 900, 2, 5) for one in odds)
    row = COUNTERFACTUAL.score(item, Answer(likelihoods=given))
    assert row.counts["change"] == pytest.approx(0.3)
    assert row.counts["signed"] == pytest.approx(-0.3)
    assert row.counts["flips"] == 1.0


def test_written_answers_are_paired_within_their_template(tmp_path: Path) -> None:
    items = items_of(COUNTERFACTUAL, own(tmp_path, QUESTION), mode="write")
    said = {"q/young": "Yes.", "q/old": "No.", "q/ageless": "Yes, of course."}
    rows = answered(COUNTERFACTUAL, items, lambda item: choosing.says(said[item.id]))
    found = figures(COUNTERFACTUAL, rows)
    assert found["ctf.gap@garg2019"] == pytest.approx(2 / 3)
    assert found["ctf.signed@garg2019"] == pytest.approx((-1 + 0 + 1) / 3)
    assert found["ctf.floor"] is None
    # One that cannot be read leaves the other pair.
    said["q/old"] = "It depends."
    rows = answered(COUNTERFACTUAL, items, lambda item: choosing.says(said[item.id]))
    assert [row.valid for row in rows] == [True, False, True]
    assert figures(COUNTERFACTUAL, rows)["ctf.gap@garg2019"] == 0.0


def test_sampling_alone_is_taken_off(tmp_path: Path) -> None:
    """A responder that tosses a coin has a gap that is all noise: the floor says so."""
    several = [QUESTION | {"id": f"q{number}"} for number in range(400)]
    items = items_of(COUNTERFACTUAL, own(tmp_path, *several), mode="write", temperature=1.0)

    def tossed(item: Item) -> Answer:
        assert isinstance(item.ask, Write)
        toss = choosing.coin(item, 4)
        return Answer(texts=tuple(("yes", "no")[toss >> draw & 1] for draw in range(item.ask.n)))

    rows = answered(COUNTERFACTUAL, items, tossed)
    found = figures(COUNTERFACTUAL, rows)
    assert found["ctf.gap@garg2019"] == pytest.approx(0.5, abs=0.05)
    assert found["ctf.floor"] == pytest.approx(0.5, abs=0.05)
    excess = next(metric for metric in COUNTERFACTUAL.metrics if metric.name == "ctf.excess")
    told = estimate(excess, rows)
    assert told.low is not None
    assert told.high is not None
    assert told.low < 0 < told.high


def test_templates_are_marked_for_training_and_for_auditing_in_both_halves_of_each_dimension() -> (
    None
):
    for mode in ("likelihood", "write"):
        items = items_of(COUNTERFACTUAL, mode=mode)
        for dimension in {item.groups["dimension"] for item in items}:
            of_it = [item for item in items if item.groups["dimension"] == dimension]
            halves = {
                side: {i.cluster for i in of_it if i.data["split"] == side}
                for side in ("train", "held_out")
            }
            assert all(halves.values())
            if mode == "likelihood":
                assert all(len(clusters) >= 10 for clusters in halves.values())
            assert not halves["train"] & halves["held_out"], "no template is in both"


def test_no_two_templates_of_our_pack_are_the_same_sentence() -> None:
    texts = [
        item.ask.contexts[0] for item in items_of(COUNTERFACTUAL) if isinstance(item.ask, Score)
    ]
    by_cluster = {item.cluster: item.ask for item in items_of(COUNTERFACTUAL)}
    assert len(set(texts)) >= len(by_cluster)


def test_a_words_capital_is_made_and_braces_cannot_reach_further() -> None:
    said = "{Who} and {who}: {who.__class__} {}"
    template = Template(id="x", dimension="d", question=said)
    assert template.filled({"who": "the cook"}) == "The cook and the cook: {who.__class__} {}"
    assert template.missing({"what": "the cook"}) == "Who"
