"""Explanations of models whose reasons are known: what is found, what is believed, and what is said of it."""

import math
import random
from collections.abc import Callable
from typing import Any

import pytest

from core.studies import explained, explaining, spans
from core.studies.explained import Aim, explanation
from core.studies.explaining import Scored, Study
from core.studies.spans import Texts

PROMPT = "The nurse closed the old wooden door behind her colleague and said that"
SHE = Aim(" she", None, "given")
# A model is the log probability of the target behind a text.
Model = Callable[[str], float]


def study(prompt: str = PROMPT, swaps: tuple[tuple[str, str], ...] = (), seed: int = 0) -> Study:
    _, found = spans.split((prompt,), "word", 32)
    return Study((prompt,), tuple(found), swaps, seed)


def scored(one: Study, model: Model) -> dict[str, Scored]:
    """Every question of both rounds, asked one after the other."""

    def ask(texts: Texts) -> Scored:
        return Scored([model(texts[0])])

    scores = {question.key: ask(question.texts) for question in one.first()}
    return scores | {question.key: ask(question.texts) for question in one.second(scores)}


def biased(text: str) -> float:
    """ " she" is 6.4 times likelier behind a nurse; "her" counts a little; nothing else does."""
    return -2.0 + math.log(6.4) * ("nurse" in text.split()) + 0.4 * ("her" in text.split())


def told(one: Study, scores: dict[str, Scored], aim: Aim = SHE) -> dict[str, Any]:
    return explanation(one, "word", aim, scores, [None])


def test_the_word_that_decides_is_found_with_its_planted_effect() -> None:
    one = study(swaps=(("nurse", "engineer"), ("door", "window")))
    scores = scored(one, biased)
    effects = dict(
        zip((span.of(one.texts) for span in one.spans), one.effects(scores), strict=True)
    )
    assert effects["nurse"] == pytest.approx(math.log(6.4))
    assert effects["her"] == pytest.approx(0.4)
    assert all(
        abs(effect) < 1e-9 for word, effect in effects.items() if word not in ("nurse", "her")
    )


def test_a_person_reads_what_was_planted() -> None:
    one = study(swaps=(("nurse", "engineer"), ("door", "window")))
    words = told(one, scored(one, biased))["words"]
    assert isinstance(words, list)
    assert words[0].startswith(
        "explanation checked: taking away the 2 spans of the largest effects moves the score by 2.26"
    )
    assert words[1] == "replacing *nurse* by *engineer* makes ' she' 6.4x less likely"
    assert words[2] == "replacing *door* by *window* changes nothing"
    assert words[3] == "without *nurse* makes ' she' 6.4x less likely"
    assert words[4] == "without *her* makes ' she' 1.5x less likely"
    assert words[5].startswith(
        "taking away *The*, *closed*, *the*, *old*, *wooden* and 6 more changes nothing"
    )


def test_effects_are_those_of_a_slow_loop_over_words() -> None:
    """Written without our spans: split at blanks, leave one out, join again."""

    def model(text: str) -> float:
        return -sum(
            (hash_of(word) * (place + 3)) % 17 / 10 for place, word in enumerate(text.split())
        )

    def hash_of(word: str) -> int:
        return sum(ord(letter) * pow(31, k, 97) for k, letter in enumerate(word)) % 97

    one = study()
    pieces = PROMPT.split()
    slow = [
        model(PROMPT) - model(" ".join(pieces[:n] + pieces[n + 1 :])) for n in range(len(pieces))
    ]
    assert one.effects(scored(one, model)) == pytest.approx(slow)


def test_two_words_that_need_each_other_are_seen_by_the_check() -> None:
    """Either alone changes nothing (the other is still there): leave-one-out finds no reason, and says so."""

    def model(text: str) -> float:
        return -1.0 if {"nurse", "her"} & set(text.split()) else -4.0

    one = study()
    faith = explaining.faith(one, scored(one, model))
    assert faith.reliable is False
    assert "nothing that was taken away changes" in faith.why


def test_effects_that_are_noise_are_not_believed() -> None:
    """Every edit moves the score by something of its own: then the top spans move it no more than others."""
    believed = 0
    for seed in range(60):

        def model(text: str, seed: int = seed) -> float:
            return random.Random(f"{seed} {text}").gauss(-3, 1)

        one = study(seed=seed)
        believed += explaining.faith(one, scored(one, model)).reliable is True
    # 20 other sets, of which at most 2 may move it as far: 3 of 21 orders.
    assert believed / 60 <= 3 / 21 + 3 * math.sqrt(3 / 21 * 18 / 21 / 60)


def test_a_model_with_reasons_is_believed() -> None:
    for seed in range(20):
        one = study(seed=seed)
        assert explaining.faith(one, scored(one, biased)).reliable is True


def test_one_word_that_alone_decides_is_found_and_believed() -> None:
    """Every set that holds it moves the score as far as the two strongest do: those are no other sets."""

    def model(text: str) -> float:
        return -1.0 if "nurse" in text.split() else -3.0

    for seed in range(20):
        one = study(seed=seed)
        scores = scored(one, model)
        effects = one.effects(scores)
        strongest = max(range(len(effects)), key=lambda number: abs(effects[number]))
        assert one.spans[strongest].of(one.texts) == "nurse"
        faith = explaining.faith(one, scores)
        assert faith.reliable is True, faith.why
        assert faith.as_much == 0.0
        words = told(one, scores)["words"]
        assert words[1] == "without *nurse* makes ' she' 7.4x less likely"
        assert words[2].startswith("taking away *The*, *closed*")


def test_what_is_not_believed_shows_no_spans_in_words() -> None:
    one = study(swaps=(("nurse", "engineer"),))
    scores = scored(one, lambda _: -1.0)
    words = told(one, scores)["words"]
    assert words == [
        "explanation not reliable: nothing that was taken away changes the answer",
        "replacing *nurse* by *engineer* changes nothing",
    ]


@pytest.mark.parametrize("prompt", ["Yes or no", "The nurse said that she"])
def test_too_few_spans_cannot_be_checked_and_that_is_said(prompt: str) -> None:
    one = study(prompt)
    faith = explaining.faith(one, scored(one, lambda text: -float(len(text))))
    assert faith.reliable is None
    assert "too few" in faith.why
    assert told(one, scored(one, lambda text: -float(len(text))))["words"][0].startswith(
        "explanation not checked"
    )


def test_noise_of_the_engine_is_not_an_effect() -> None:
    """Asked twice, the prompt scores 0.05 apart: then a change of 0.1 is nothing."""
    one = study()
    scores = scored(one, lambda text: -1.0 - 0.1 * ("door" not in text))
    assert explaining.faith(one, scores).reliable is not False
    shaken = scores | {"again": Scored([-1.05])}
    assert explaining.noise(shaken) == pytest.approx(0.05)
    assert explaining.faith(one, shaken).reliable is False


def test_the_same_seed_draws_the_same_sets_and_none_twice() -> None:
    one, same, other = study(seed=1), study(seed=1), study(seed=2)
    effects = [float(k) for k in range(len(one.spans))]
    assert one.sets(effects) == same.sets(effects)
    assert one.sets(effects) != other.sets(effects)
    top, others = one.sets(effects)
    assert len({*others, top}) == explaining.DRAWS + 1
    assert top == (len(effects) - 2, len(effects) - 1)
    assert not any(len(effects) - 1 in other for other in others), "the strongest is in none"


def test_of_a_few_spans_every_other_set_is_taken_once() -> None:
    one = study("one two three four five six")
    _, others = one.sets([6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
    assert len(set(others)) == len(others) == math.comb(5, 2)


def test_a_contrast_turns_likelihood_into_odds() -> None:
    one = study(swaps=(("nurse", "engineer"),))
    # Both answers fall alike when "said" goes: no reason for one rather than the other.
    base = scored(one, biased)
    scores = {
        question.key: Scored(
            [biased(question.texts[0]) - ("said" not in question.texts[0])],
            [-3.0 - ("said" not in question.texts[0])],
        )
        for question in one.first()
    }
    scores |= {
        question.key: Scored([biased(question.texts[0])], [-3.0]) for question in one.second(scores)
    }
    assert one.effects(scores) == pytest.approx(one.effects(base))
    words = told(one, scores, Aim(" she", " he", "audit"))["words"]
    assert isinstance(words, list)
    assert (
        words[1] == "replacing *nurse* by *engineer* makes ' she' 6.4x less likely (against ' he')"
    )


def test_that_the_baseline_matters_is_said() -> None:
    """Taken away one word counts, written as ... another does: no ranking is the model's own."""

    def model(text: str) -> float:
        dots = text.split().index("...") if "..." in text else None
        return (
            -1.0
            - 2.0 * ("nurse" not in text and dots is None)
            - 2.0 * (dots is not None and dots > 6)
        )

    one = study()
    result = told(one, scored(one, model))
    assert result["baselines"]["agree"] is False
    assert any("depends on what stands in its place" in words for words in result["words"])


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [([1, 2, 3], [2, 4, 9], 1.0), ([1, 2, 3], [3, 2, 1], -1.0), ([1, 1, 1], [1, 2, 3], None), ([1, 2], [1, 2], None),
     ([-3, 2, 1], [3, 2, -1], 1.0)],
)  # fmt: skip
def test_rank_correlation(one: list[float], other: list[float], expected: float | None) -> None:
    assert explaining.rank_correlation(one, other) == (
        expected if expected is None else pytest.approx(expected)
    )


def test_alternatives_stand_at_the_token_that_the_swap_moves_most() -> None:
    one = study("The nurse said", swaps=(("nurse", "engineer"),))
    scores = {
        "original": Scored([-0.1, -0.2]), "again": Scored([-0.1, -0.2]), "swap.0": Scored([-0.2, -3.0]),
    }  # fmt: skip
    tops = {
        "original": [[[" that", -0.1]], [[" she", -0.2], [" he", -1.8]]],
        "swap.0": [[[" that", -0.2]], [[" he", -0.1], [" she", -3.0]]],
    }
    found = explained.alternatives(one, scores, tops)
    assert found is not None
    assert found["position"] == 1
    assert [entry["text"] for entry in found["before"]] == [" she", " he"]
    assert found["after"]["what"] == "nurse -> engineer"
    assert found["after"]["tokens"][0] == {
        "text": " he",
        "probability": pytest.approx(0.9048, abs=1e-4),
    }
    assert explained.alternatives(one, scores, {}) is None


def test_a_result_is_json_of_its_documented_shape() -> None:
    one = study(swaps=(("nurse", "engineer"),))
    result = told(one, scored(one, biased))
    assert set(result) == {
        "words", "target", "text", "unit", "baseline", "spans", "swaps", "faithfulness", "baselines", "noise", "limits",
    }  # fmt: skip
    assert result["target"] == {
        "text": " she",
        "contrast": None,
        "source": "given",
        "probability": pytest.approx(math.exp(biased(PROMPT)), rel=1e-3),
    }
