"""Explanations of single answers, as jobs of kind explain found them: in words first, spans only where they hold."""

from collections.abc import Mapping
from typing import Any

from core.audits.report.masking import masked

# Of a text with its spans so many characters are shown.
SHOWN = 2000


def explanation(row: Mapping[str, Any]) -> dict[str, Any]:
    """`row`: of the job, {id, state, of: {id, suite, item}, result, error}. What was quoted is masked."""
    result, of = row["result"] or {}, row["of"] or {}
    reliable = (result.get("faithfulness") or {}).get("reliable") is True
    return {
        "job": row["id"],
        "state": row["state"],
        "suite": of.get("suite"),
        "item": of.get("item"),
        "error": row["error"],
        "words": [masked(str(one))[0] for one in result.get("words", [])],
        "target": _masked(result.get("target"), "text", "contrast"),
        "unit": result.get("unit"),
        "reliable": reliable,
        # What does not move the answer more than chance would is no explanation, and is not coloured as one.
        "texts": [_marked(n, one, result) for n, one in enumerate(result.get("text", []))]
        if reliable
        else [],
        "swaps": [_masked(one, "from", "to") for one in result.get("swaps") or []],
        "alternatives": result.get("alternatives"),
        "faithfulness": result.get("faithfulness"),
        "limits": result.get("limits") or [],
    }


def _masked(told: Mapping[str, Any] | None, *fields: str) -> dict[str, Any] | None:
    if told is None:
        return None
    return {**told, **{name: masked(told[name])[0] for name in fields if told.get(name)}}


def _marked(part: int, text: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """A text in pieces, each with its effect in nats, or null between the spans."""
    whole = str(text["text"])
    pieces: list[dict[str, Any]] = []
    at = 0
    spans = [one for one in result.get("spans", []) if one["part"] == part]
    for span in sorted(spans, key=lambda one: one["begin"]):
        if span["begin"] < at or span["end"] > min(len(whole), SHOWN):
            continue
        pieces.append({"text": whole[at : span["begin"]], "effect": None})
        pieces.append({"text": whole[span["begin"] : span["end"]], "effect": span["effect"]})
        at = span["end"]
    pieces.append({"text": whole[at:SHOWN], "effect": None})
    hidden = [masked(one["text"]) for one in pieces]
    kept = [{**one, "text": text} for one, (text, _) in zip(pieces, hidden, strict=True) if text]
    plain, _ = masked(whole[:SHOWN])
    if plain != "".join(text for text, _ in hidden):
        # A span begins inside what is to be masked: no half of it is shown.
        kept = [{"text": plain, "effect": None}]
    most = max((abs(one["effect"]) for one in kept if one["effect"] is not None), default=0.0)
    return {"role": text.get("role"), "pieces": kept, "most": most}
