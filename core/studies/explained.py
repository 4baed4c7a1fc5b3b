"""An explanation as it leaves the building: words for a person first, then the figures that they rest on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from core.studies import explaining
from core.studies.explaining import Faith, Scored, Study

# Two ways of taking a span away agree when their effects rank the spans alike.
ALIKE = 0.5
# Larger ratios are said in words; a float would say more than anybody can know.
_MOST = 1000.0
LIMITS = (
    "An effect is of one edit at a time, in this prompt and for this target; other prompts may behave otherwise.",
    "A prompt without a span may be one that nobody would write; a swap of a word for its counterpart is not.",
    "What moves the likelihood of an answer is not what a model was trained on, and no account of how it reasons.",
)


@dataclass(frozen=True, slots=True)
class Aim:
    """What is explained. `source`: it was given, is the model's own greedy answer, or was recorded by an audit."""

    text: str
    contrast: str | None
    source: str


def explanation(
    study: Study, unit: str, aim: Aim, scores: Mapping[str, Scored], roles: Sequence[str | None]
) -> dict[str, Any]:
    """JSON; shapes are in docs/explaining.md. `scores`: of every question of both rounds."""
    effects, others = study.effects(scores), study.effects(scores, "ellipsis")
    faith = explaining.faith(study, scores)
    correlation = explaining.rank_correlation(effects, others)
    swaps = [_swap(study, number, scores) for number in range(len(study.swaps))]
    return {
        "words": _words(study, aim, scores, faith, swaps, correlation),
        "target": {
            "text": aim.text,
            "contrast": aim.contrast,
            "source": aim.source,
            "probability": _probability(scores["original"].target),
        },
        "text": [
            {"role": role, "text": text} for role, text in zip(roles, study.texts, strict=True)
        ],
        "unit": unit,
        "baseline": "deleted",
        "spans": [
            {
                "part": span.part, "begin": span.begin, "end": span.end, "text": span.of(study.texts),
                "effect": round(effect, 6), "ratio": _ratio(effect), "other_baseline": round(other, 6),
            }
            for span, effect, other in zip(study.spans, effects, others, strict=True)
        ],
        "swaps": swaps,
        "faithfulness": _faithfulness(faith),
        "baselines": {
            "names": ["deleted", explaining.ELLIPSIS],
            "rank_correlation": None if correlation is None else round(correlation, 3),
            "agree": None if correlation is None else correlation >= ALIKE,
        },
        "noise": round(explaining.noise(scores), 6),
        "limits": list(LIMITS),
    }  # fmt: skip


def _swap(study: Study, number: int, scores: Mapping[str, Scored]) -> dict[str, Any]:
    one, other = study.swaps[number]
    scored = scores[f"swap.{number}"]
    effect = explaining.original(scores) - scored.score
    return {
        "from": one, "to": other, "effect": round(effect, 6), "ratio": _ratio(effect),
        "probability": _probability(scored.target),
    }  # fmt: skip


def _faithfulness(faith: Faith) -> dict[str, Any]:
    told = asdict(faith)
    median, largest, draws = told.pop("median"), told.pop("largest"), told.pop("draws")
    random = {"draws": draws, "median": median, "max": largest, "as_much": told.pop("as_much")}
    return told | {"top": list(faith.top), "k": len(faith.top), "random": random}


def _words(
    study: Study,
    aim: Aim,
    scores: Mapping[str, Scored],
    faith: Faith,
    swaps: Sequence[Mapping[str, Any]],
    correlation: float | None,
) -> list[str]:
    """First whether to believe it; then the swaps; then the spans, if they may be believed."""
    nothing = explaining.threshold(scores)
    words = [_verdict(faith)]
    words += [
        _sentence(f"replacing *{one['from']}* by *{one['to']}*", one["effect"], aim, nothing)
        for one in swaps
    ]
    if faith.reliable is False:
        return words
    effects = study.effects(scores)
    order = sorted(range(len(effects)), key=lambda number: -abs(effects[number]))
    moving = [number for number in order if abs(effects[number]) >= nothing][:3]
    words += [
        _sentence(f"without *{study.spans[n].of(study.texts)}*", effects[n], aim, nothing)
        for n in moving
    ]
    if still := [number for number in order if abs(effects[number]) < nothing]:
        named = ", ".join(f"*{study.spans[n].of(study.texts)}*" for n in sorted(still)[:5])
        rest = f" and {len(still) - 5} more" if len(still) > 5 else ""
        words.append(f"taking away {named}{rest} changes nothing")
    if correlation is not None and correlation < ALIKE:
        words.append(
            "which span matters depends on what stands in its place: taken away and written as ... they rank "
            f"differently (rank correlation {correlation:.2f})"
        )
    return words


def _verdict(faith: Faith) -> str:
    match faith.reliable:
        case True:
            return f"explanation checked: {faith.why}"
        case False:
            return f"explanation not reliable: {faith.why}"
    return f"explanation not checked: {faith.why}"


def _sentence(what: str, effect: float, aim: Aim, nothing: float) -> str:
    if abs(effect) < nothing:
        return f"{what} changes nothing"
    ratio = min(_MOST, math.exp(min(abs(effect), 50.0)))
    much = (
        f"over {_MOST:.0f}" if ratio >= _MOST else f"{ratio:.1f}" if ratio < 100 else f"{ratio:.0f}"
    )
    against = f" (against {aim.contrast!r})" if aim.contrast is not None else ""
    return f"{what} makes {aim.text!r} {much}x {'less' if effect > 0 else 'more'} likely{against}"


def _ratio(effect: float) -> float:
    """How many times likelier the target is with it than without."""
    return float(f"{math.exp(max(-50.0, min(50.0, effect))):.4g}")


def _probability(logprobs: Sequence[float]) -> float:
    return float(f"{math.exp(sum(logprobs)):.4g}")


def alternatives(
    study: Study, scores: Mapping[str, Scored], tops: Mapping[str, Any]
) -> dict[str, Any] | None:
    """What else the model might have said at the target's decisive token: the one that the swap of the largest effect
    moves most, and the first where there is no swap. `tops`: of a question, for each token of the target, [text, log
    probability] of the likeliest in its place."""
    if not tops.get("original"):
        return None
    whole = scores["original"].target
    swap, place = None, 0
    if study.swaps:
        number = max(
            range(len(study.swaps)),
            key=lambda n: abs(explaining.original(scores) - scores[f"swap.{n}"].score),
        )
        swap, changed = number, scores[f"swap.{number}"].target
        if len(changed) == len(whole):
            place = max(range(len(whole)), key=lambda k: abs(whole[k] - changed[k]))
    return {
        "position": place,
        "before": _likeliest(tops["original"], place),
        "after": None
        if swap is None
        else {
            "what": " -> ".join(study.swaps[swap]),
            "tokens": _likeliest(tops.get(f"swap.{swap}", []), place),
        },
    }


def _likeliest(tops: Sequence[Sequence[tuple[str, float]]], place: int) -> list[dict[str, Any]]:
    if place >= len(tops):
        return []
    return [{"text": text, "probability": _probability([logprob])} for text, logprob in tops[place]]
