"""The bytes behind each token id, as clients that read logprobs want them."""

import re

import orjson
from tokenizers import Tokenizer

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _alphabet() -> dict[str, int]:
    """The printable characters that byte-level BPE writes bytes as (GPT-2's table)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}


class Pieces:
    """One tokenizer's tokens as bytes."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        decoder = orjson.loads(tokenizer.to_str()).get("decoder") or {}
        kinds = {decoder.get("type"), *(d.get("type") for d in decoder.get("decoders", ()))}
        self._bytes = _alphabet() if "ByteLevel" in kinds else None
        self._whole = {i: t.content for i, t in tokenizer.get_added_tokens_decoder().items()}

    def of(self, token: int) -> bytes:
        """b"" for an id that no token has."""
        if token in self._whole:
            return self._whole[token].encode()
        written: str | None = self._tokenizer.id_to_token(token)
        if written is None:
            return b""
        if self._bytes is not None and all(c in self._bytes for c in written):
            return bytes(self._bytes[c] for c in written)
        if match := _BYTE.fullmatch(written):
            return bytes([int(match[1], 16)])
        # Sentencepiece's mark for a blank.
        return written.replace("\u2581", " ").encode()
