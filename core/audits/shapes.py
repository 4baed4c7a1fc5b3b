"""Answers and scored rows as the JSON that is kept of them, and back."""

from typing import Any

import orjson

from core.audits.asking import Answer, Likelihood
from core.measures.rows import Row

# What an item's answer took; its audit's usage is the sum.
SPENT = ("prompt_tokens", "completion_tokens", "cached_tokens", "engine_seconds")


def plain(found: Any) -> Any:
    """Figures as JSON has them: numbers of numpy as such, and None for what has no end or is undefined."""
    return orjson.loads(orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY))


def answer_as(answer: Answer) -> dict[str, Any]:
    """{"texts", "likelihoods": [[logprob, tokens, bytes, greedy]], "finish"}."""
    return {
        # Postgres holds no zero character.
        "texts": [text.replace("\x00", "\ufffd") for text in answer.texts],
        "likelihoods": [
            [one.logprob, one.tokens, one.bytes, one.greedy] for one in answer.likelihoods
        ],
        "finish": list(answer.finish),
    }


def answer_of(kept: dict[str, Any]) -> Answer:
    likelihoods = tuple(Likelihood(*one) for one in kept["likelihoods"])
    return Answer(tuple(kept["texts"]), likelihoods, tuple(kept["finish"]))


def row_as(row: Row) -> dict[str, Any]:
    """{"cluster", "valid", "counts", "groups", "pair"}; the item is a column of its own."""
    return {
        "cluster": row.cluster, "valid": row.valid, "counts": dict(row.counts),
        "groups": dict(row.groups), "pair": row.pair,
    }  # fmt: skip


def row_of(item: str, kept: dict[str, Any]) -> Row:
    return Row(item, kept["cluster"], kept["valid"], kept["counts"], kept["groups"], kept["pair"])
