"""An attempt that must walk its predecessor's way: the engine says the old tokens again, we say only the new.

Why: docs/decisions/0007-continuing-a-constrained-answer.md.
"""

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace

from workers.engine import Chunk


async def fresh(
    stream: AsyncGenerator[Chunk, None], tokens: int, chars: int
) -> AsyncGenerator[Chunk, None]:
    """The chunks without their first `tokens` tokens and `chars` characters; empty ones are signs of life."""
    async with contextlib.aclosing(stream):
        async for chunk in stream:
            old = min(tokens, len(chunk.tokens))
            tokens -= old
            # Text is late behind its tokens, never early: what belongs to the old ones comes first.
            known = min(chars, len(chunk.text))
            chars -= known
            yield replace(
                chunk,
                text=chunk.text[known:],
                tokens=chunk.tokens[old:],
                logprobs=chunk.logprobs[old:],
            )
