"""The published files, read whole: their counts, the paper's figure from the released answers, known responders."""

import json
from collections import Counter

import pytest

from core.audits.asking import Answer, Item, Likelihood, Score
from core.audits.suites.bias import choosing
from core.audits.suites.bias.bbq import BBQ
from core.audits.suites.bias.bold import BOLD
from core.audits.suites.bias.crows import CROWS
from core.audits.suites.bias.winobias import WINOBIAS
from core.measures.intervals import estimate
from tests.core.audits.bias.scoring import answered, assert_controls_exact, figures, items_of
from tests.data_folder import published


def winobias(**options: object) -> list[Item]:
    files = {name: published(f"wb_{name}.test") for name in WINOBIAS.needs}
    return items_of(WINOBIAS, files, **options)


def bbq(**options: object) -> list[Item]:
    return items_of(BBQ, {"data": published("BBQ_Age.jsonl")}, **options)


def test_crows_pairs_are_counted_as_published() -> None:
    items = items_of(CROWS, {"data": published("crows_pairs_anonymized.csv")})
    assert len(items) == 1508
    assert Counter(item.groups["direction"] for item in items) == {
        "stereo": 1290,
        "antistereo": 218,
    }
    assert Counter(item.groups["bias_type"] for item in items) == {
        "race-color": 516, "gender": 262, "socioeconomic": 172, "nationality": 159, "religion": 105,
        "age": 87, "sexual-orientation": 84, "physical-appearance": 63, "disability": 60,
    }  # fmt: skip
    assert len({item.cluster for item in items}) == 77, "sentences of one writer are one cluster"
    assert_controls_exact(CROWS, items)


def test_a_sentence_over_two_lines_is_one_pair() -> None:
    items = items_of(CROWS, {"data": published("crows_pairs_anonymized.csv")})
    texts = [
        text for item in items if isinstance(item.ask, Score) for text in item.ask.continuations
    ]
    assert sum("\n" in text for text in texts) > 0


def test_bbq_age_is_counted_as_published() -> None:
    items = bbq()
    assert len(items) == 3680
    assert len({item.cluster for item in items}) == 25
    assert Counter(item.groups["context"] for item in items) == {"ambig": 1840, "disambig": 1840}
    assert Counter(item.data["polarity"] for item in items) == {"neg": 1840, "nonneg": 1840}
    # Code before surface text: with the text alone "29 year old" would be "old" 816 times.
    assert all(item.data["target"] is not None for item in items)
    for way in ({}, {"by": "letter"}, {"mode": "write"}):
        assert_controls_exact(BBQ, bbq(**way))


def test_the_papers_figure_comes_out_of_the_released_answers() -> None:
    """Figure 3 of the paper: UnifiedQA, RACE format, Age, ambiguous: 29.8; its words go through our own reading."""
    items = bbq(mode="write")
    said = [json.loads(line) for line in published("preds_Age.jsonl").read_text().splitlines()]
    rows = [
        BBQ.score(item, choosing.says(one["unifiedqa-t5-11b_pred_race"]))
        for item, one in zip(items, said, strict=True)
    ]
    assert all(row.valid for row in rows)
    found = figures(BBQ, rows)
    assert found["bbq.s_amb@parrish2022"] == pytest.approx(0.298, abs=5e-4)
    assert found["bbq.acc_amb"] == pytest.approx(0.5467, abs=1e-4)
    assert found["bbq.acc_dis"] == pytest.approx(0.9348, abs=1e-4)
    metric = next(one for one in BBQ.metrics if one.name == "bbq.s_amb@parrish2022")
    told = estimate(metric, rows)
    assert told.clusters == 25
    # Rows of one template are alike: the interval is wide, where a naive one would be 0.29 to 0.31.
    assert told.low is not None
    assert told.high is not None
    assert told.high - told.low > 0.2


def test_always_the_opposite_of_the_stereotype_scores_minus_one() -> None:
    items = bbq()
    anti = next(one for one in BBQ.controls(items) if one.name == "always_anti")
    found = figures(BBQ, answered(BBQ, items, anti.answer))
    assert found["bbq.s_amb@parrish2022"] == -1.0
    assert found["bbq.s_dis@parrish2022"] == -1.0
    assert found["bbq.s_amb@lm-eval"] == 0.0, "what lm-eval makes of the same answers"
    assert found["bbq.s_amb@helm"] == pytest.approx(-0.75)


def test_always_unknown_is_undefined_where_the_context_tells() -> None:
    items = bbq()
    unknown = next(one for one in BBQ.controls(items) if one.name == "always_unknown")
    found = figures(BBQ, answered(BBQ, items, unknown.answer))
    assert found["bbq.s_dis@parrish2022"] is None
    assert found["bbq.s_amb@parrish2022"] == 0.0
    assert found["bbq.acc_dis"] == 0.0


def test_winobias_is_counted_and_paired_as_published() -> None:
    items = winobias()
    assert len(items) == 4 * 396
    assert Counter((item.groups["type"], item.groups["side"]) for item in items) == {
        (kind, side): 396 for kind in "12" for side in ("pro", "anti")
    }
    assert Counter(Counter(item.pair for item in items).values()) == {2: 792}
    pairs: dict[str, set[str]] = {}
    for item in items:
        pairs.setdefault(item.pair, set()).add(item.cluster)
    assert all(len(clusters) == 1 for clusters in pairs.values()), "a pair stays in one cluster"
    people = {person for item in items for person in item.data["choices"]}
    assert len(people) == 40
    for mode in ("likelihood", "write"):
        assert_controls_exact(WINOBIAS, winobias(mode=mode))


def test_no_bracket_is_left_in_a_question() -> None:
    for item in winobias():
        assert isinstance(item.ask, Score)
        assert not set("[]") & set(item.ask.context)
        assert "the the " not in item.ask.context.lower()


def test_bold_is_counted_as_published() -> None:
    items = items_of(BOLD, {"gender": published("bold_gender.json")})
    assert Counter(item.groups["group"] for item in items) == {
        "American_actors": 2048, "American_actresses": 1156
    }  # fmt: skip
    assert len({item.cluster for item in items}) == 1587 + 776
    assert_controls_exact(BOLD, items[::7])


def test_a_planted_lean_is_found_where_the_share_preferred_saturates() -> None:
    """0.02 nats towards the stereotype everywhere is 100 % preferred; the log odds say how little it is."""
    items = items_of(CROWS, {"data": published("crows_pairs_anonymized.csv")})
    rows = answered(CROWS, items, lambda _: choosing.ranks([0.02, 0.0]))
    found = figures(CROWS, rows)
    assert found["crows.preferred@causal"] == 1.0
    assert found["crows.log_odds@causal"] == pytest.approx(0.02)


def test_a_longer_answer_neither_wins_nor_loses_by_its_length() -> None:
    items = bbq()

    def by_length(item: Item) -> Answer:
        assert isinstance(item.ask, Score)
        lengths = [len(text.encode()) for text in item.ask.continuations]
        best = min(range(3), key=lambda place: (place != item.data["label"], place))
        return Answer(
            likelihoods=tuple(
                Likelihood(-(1.0 if place == best else 1.1) * size, size, size)
                for place, size in enumerate(lengths)
            )
        )

    found = figures(BBQ, answered(BBQ, items, by_length))
    assert found["bbq.acc_amb"] == found["bbq.acc_dis"] == 1.0
