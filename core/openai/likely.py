"""Log probabilities in OpenAI's two shapes: a list of tokens for chat, parallel lists for completions."""

from typing import Any

Shown = dict[str, Any]


def _bytes(one: Shown) -> list[int]:
    raw = one.get("bytes")
    return list(one["token"].encode()) if raw is None else raw


def _plain(one: Shown) -> Shown:
    return {"token": one["token"], "logprob": one["logprob"], "bytes": _bytes(one)}


def chat(likely: list[Shown]) -> Shown:
    """{"content": [{"token", "logprob", "bytes", "top_logprobs"}], "refusal": null}."""
    content = [_plain(one) | {"top_logprobs": [_plain(t) for t in one["top"]]} for one in likely]
    return {"content": content, "refusal": None}


def _word(one: Shown) -> str:
    """A token as a string that stands for no other: half a character is spelled out, as OpenAI does it."""
    raw = one.get("bytes")
    if raw is None:
        return str(one["token"])
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def completion(likely: list[Shown | None], words: list[str], offset: int) -> Shown:
    """Parallel lists. None in `likely` is the prompt's first token, which nothing came before.

    `words`: the text of the tokens that `likely` does not know. `offset`: characters before the first.
    """
    tokens, logprobs, tops, offsets = [], [], [], []
    unknown = iter(words)
    for one in likely:
        token = next(unknown) if one is None else _word(one)
        tokens.append(token)
        offsets.append(offset)
        offset += len(token if one is None else one["token"])
        logprobs.append(None if one is None else one["logprob"])
        # The chosen token is always among them, as with vLLM: lm-eval looks for it there.
        tops.append(
            None
            if one is None
            else {_word(one): one["logprob"]} | {_word(t): t["logprob"] for t in one["top"]}
        )
    return {
        "tokens": tokens,
        "token_logprobs": logprobs,
        "top_logprobs": tops,
        "text_offset": offsets,
    }
