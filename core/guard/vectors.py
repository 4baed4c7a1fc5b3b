"""Vectors of sentences that wait, asked of the embedding workers through Redis: without a job's rows and queues.

    who guards          RPUSH penstock:vectors:<digest of the model>  {"reply", "until", "texts"};  BLPOP <reply>
    embedding worker    BLPOP penstock:vectors:<digest>, a pass beside its jobs' texts,  RPUSH <reply>

What comes late is of no use: a wish says until when somebody waits, keys expire, and nobody asks twice. Nothing of it
is kept, charged or logged.
"""

import base64
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson
import structlog
from numpy.typing import NDArray
from redis.asyncio import Redis

from core.db.gather import Gather
from core.errors import Unavailable
from core.ids import new_id

log = structlog.get_logger(__name__)

# How long one wish waits for its vectors; a pass of the jobs before it takes tenths of a second.
WAIT_S = 1.5
# Nobody answered, or wrongly: so long is not asked again, and sentences do not wait for what does not come.
AWAY_S = 5.0
# Characters of one wish, and one text at least: about one pass, also of a worker on few cores.
TOGETHER = 1000
_EXPIRE_S = 10

Rows = NDArray[np.float32]
# Of texts, a vector each; None for one that the model cannot read whole. float32, little-endian.
Measure = Callable[[Sequence[str]], Awaitable[Sequence[bytes | None]]]


def _wishes(digest: str) -> str:
    return f"penstock:vectors:{digest}"


@dataclass
class Vectors:
    """The vectors of one embedding model, named by its digest; of one process."""

    redis: Redis
    digest: str
    wait_s: float = WAIT_S
    _away_until: float = 0.0
    _gather: Gather[Sequence[str], Rows] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._gather = Gather(self._together, TOGETHER, lambda texts: sum(map(len, texts)))

    async def of(self, texts: Sequence[str]) -> Rows:
        """(texts, dimensions); NaN throughout for a text that the model cannot read whole.

        Raises Unavailable when no worker has given them; what Redis raises.
        """
        return np.concatenate([await self._gather(piece) for piece in _pieces(texts)])

    async def _together(self, pieces: Sequence[Sequence[str]]) -> list[Rows]:
        if time.monotonic() < self._away_until:
            raise Unavailable("No embedding worker gave vectors a moment ago")
        try:
            rows = await self._asked([text for piece in pieces for text in piece])
        except Exception:
            self._away_until = time.monotonic() + AWAY_S
            raise
        ends = np.cumsum([len(piece) for piece in pieces])[:-1]
        return np.split(rows, ends)

    async def _asked(self, texts: Sequence[str]) -> Rows:
        reply = f"{_wishes(self.digest)}:{new_id('reply')}"
        wish = {"reply": reply, "until": time.time() + self.wait_s, "texts": list(texts)}
        async with self.redis.pipeline(transaction=False) as pipe:
            pipe.rpush(_wishes(self.digest), orjson.dumps(wish))
            pipe.expire(_wishes(self.digest), _EXPIRE_S)
            await pipe.execute()
        found = await self.redis.blpop([reply], timeout=self.wait_s)
        if found is None:
            raise Unavailable(f"No embedding worker gave vectors within {self.wait_s:g} s")
        return _rows(orjson.loads(found[1]), len(texts))


def _pieces(texts: Sequence[str]) -> list[list[str]]:
    out: list[list[str]] = [[]]
    for text in texts:
        if out[-1] and sum(map(len, out[-1])) + len(text) > TOGETHER:
            out.append([])
        out[-1].append(text)
    return out


def _rows(answer: dict[str, list[str | None]], count: int) -> Rows:
    told = answer["vectors"]
    raw = [None if one is None else base64.b64decode(one) for one in told]
    size = max((len(one) // 4 for one in raw if one is not None), default=0)
    if len(raw) != count or any(one is not None and len(one) != 4 * size for one in raw):
        raise Unavailable("An embedding worker gave vectors that are not those of the texts")
    unread = np.full(size, np.nan, np.float32)
    return np.stack([unread if one is None else np.frombuffer(one, "<f4") for one in raw])


async def serve(redis: Redis, digest: str, measure: Measure) -> None:
    """Give vectors to who asks for this model's, for ever; several of these share the wishes."""
    while True:
        found = await redis.blpop([_wishes(digest)], timeout=1.0)
        if found is None:
            continue
        wish = orjson.loads(found[1])
        if wish["until"] < time.time():
            continue
        try:
            made = await measure(wish["texts"])
        except Exception as error:
            # The words are a tenant's: how many it were is all that is said of them.
            log.warning(
                "no vectors were made", texts=len(wish["texts"]), error=type(error).__name__
            )
            made = []
        told = [None if one is None else base64.b64encode(one).decode() for one in made]
        async with redis.pipeline(transaction=False) as pipe:
            pipe.rpush(wish["reply"], orjson.dumps({"vectors": told}))
            pipe.expire(wish["reply"], _EXPIRE_S)
            await pipe.execute()
