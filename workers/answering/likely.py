"""Log probabilities as events and results show them: the token's text, its id, and what else was likely."""

import contextlib
from collections.abc import Callable
from typing import Any

from core.catalog.tokenizer import Text
from workers.engine import Engine, Likely, Request


async def likelihoods(
    engine: Engine, request: Request, alive: Callable[[], None]
) -> list[Likely | None]:
    """How likely each token of a prompt is, as far as the engine says; the token it writes is of no interest."""
    found: list[Likely | None] = []
    async with contextlib.aclosing(engine.generate(request)) as stream:
        async for chunk in stream:
            alive()
            found = chunk.prompt_logprobs or found
    return found


def shown(text: Text, likely: Likely) -> dict[str, Any]:
    """{"token", "id", "logprob", "top": [the same of the likeliest]}; "bytes" where text cannot hold them."""
    top = [_token(text, token, logprob) for token, logprob in likely.top]
    return _token(text, likely.token, likely.logprob) | {"top": top}


def _token(text: Text, token: int, logprob: float) -> dict[str, Any]:
    raw = text.piece(token)
    # JSON has no minus infinity; OpenAI writes -9999.0 for what is out of the question.
    out: dict[str, Any] = {
        "token": raw.decode(errors="replace").replace("\x00", "\ufffd"),
        "id": token,
        "logprob": max(logprob, -9999.0),
    }
    return out if out["token"].encode() == raw else out | {"bytes": list(raw)}
