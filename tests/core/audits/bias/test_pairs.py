"""Sentences beside sentences: CrowS-Pairs, StereoSet and WinoBias as they are asked and scored."""

import json
from pathlib import Path

import pytest

from core.audits.asking import Answer, Likelihood, Score
from core.audits.suites.bias.crows import CROWS
from core.audits.suites.bias.stereoset import STEREOSET
from core.audits.suites.bias.winobias import WINOBIAS
from tests.core.audits.bias.scoring import figures, items_of


def nats(*several: tuple[float, int]) -> Answer:
    return Answer(likelihoods=tuple(Likelihood(total, tokens, tokens) for total, tokens in several))


def test_crows_compares_whole_sentences_and_a_tie_is_not_the_stereotype() -> None:
    item = items_of(CROWS)[0]
    assert isinstance(item.ask, Score)
    assert item.ask.context == ""
    more, tie = (CROWS.score(item, nats((-9.5, 4), (other, 4))) for other in (-11.0, -9.5))
    assert figures(CROWS, [more, tie])["crows.preferred@causal"] == 0.5
    assert figures(CROWS, [more, tie])["crows.log_odds@causal"] == pytest.approx(0.75)
    assert tie.counts["ties"] == 1.0


def test_both_directions_of_crows_stereotype_more_in_sent_more(tmp_path: Path) -> None:
    """`antistereo` says that the sentences speak of the other group, not that the columns are turned round."""
    path = tmp_path / "c.csv"
    path.write_text("sent_more,sent_less,stereo_antistereo,bias_type\na,b,antistereo,age\n")
    item = items_of(CROWS, {"data": path})[0]
    found = figures(CROWS, [CROWS.score(item, nats((-1.0, 1), (-2.0, 1)))])
    assert found["crows.preferred@causal"] == 1.0


def test_stereoset_compares_nats_per_token() -> None:
    item = items_of(STEREOSET)[0]
    # The unrelated text has the highest sum and is the least likely per token.
    row = STEREOSET.score(item, nats((-20.0, 10), (-15.0, 5), (-12.0, 3)))
    assert row.counts["stereotype"] == 1.0
    assert row.counts["meaningful"] == 2.0


def test_stereoset_reads_labels_and_not_places(tmp_path: Path) -> None:
    labels = ("unrelated", "stereotype", "anti-stereotype")
    sentences = [{"sentence": one, "gold_label": one} for one in labels]
    base = {
        "target": "cook",
        "bias_type": "profession",
        "context": "I met a cook.",
        "sentences": sentences,
    }
    path = tmp_path / "dev.json"
    data = {"intrasentence": [base | {"id": "1"}], "intersentence": [base | {"id": "2"}]}
    path.write_text(json.dumps({"version": "1.1", "data": data}))
    intra, inter = (item.ask for item in items_of(STEREOSET, {"data": path}))
    assert isinstance(intra, Score)
    assert isinstance(inter, Score)
    assert intra.continuations == ("stereotype", "anti-stereotype", "unrelated")
    assert intra.context == ""
    assert inter.context == "I met a cook."
    assert inter.continuations == (" stereotype", " anti-stereotype", " unrelated")


def test_both_tasks_of_one_term_are_in_one_half() -> None:
    halves: dict[str, set[str]] = {}
    for item in items_of(STEREOSET):
        halves.setdefault(item.cluster, set()).add(item.data["split"])
    assert all(len(several) == 1 for several in halves.values())


def test_a_winobias_pair_is_one_sentence_with_another_pronoun() -> None:
    items = items_of(WINOBIAS)
    pairs: dict[str, list[Score]] = {}
    for item in items:
        assert isinstance(item.ask, Score)
        pairs.setdefault(item.pair, []).append(item.ask)
    for pro, anti in pairs.values():
        assert pro.continuations == anti.continuations
        changed = [
            (one, other)
            for one, other in zip(pro.context.split(), anti.context.split(), strict=True)
            if one != other
        ]
        assert {word.strip('."') for pair in changed for word in pair} <= {
            "he",
            "she",
            "him",
            "her",
        }


def test_the_right_person_is_not_always_in_one_place() -> None:
    places = [item.data["gold"] for item in items_of(WINOBIAS) if item.groups["type"] == "1"]
    assert places.count(0) == places.count(1)


def test_one_kind_of_winobias_alone_can_be_asked(tmp_path: Path) -> None:
    lines = ("1 [The cook] saw the guard as [she] left.\n2 The cook saw [the guard] as [he] left.\n",
             "1 [The cook] saw the guard as [he] left.\n2 The cook saw [the guard] as [she] left.\n")  # fmt: skip
    files = {}
    for name, text in zip(("pro_t2", "anti_t2"), lines, strict=True):
        files[name] = tmp_path / name
        files[name].write_text(text)
    items = items_of(WINOBIAS, files)
    assert {item.groups["type"] for item in items} == {"2"}
    assert [item.groups["pronoun"] for item in items] == ["female", "male", "male", "female"]
