"""One item asked of the engine: text to write, or how likely text is; it may leave the engine and go on later."""

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core import telemetry
from core.audits.asking import Answer, Item, Likelihood, Rolling, Score, Write
from core.audits.likelihoods import Cut, Told, bytes_scored, fitted, pieces, summed, windows
from core.audits.shapes import SPENT
from core.audits.wishes import Render
from core.catalog import marks
from core.errors import InvalidInput, Refused
from core.jobs import inference
from core.jobs.inference import InferenceSpec, check_length
from workers.answering.answer import INLINE_CHARS, Ask, Prompt, answered, together
from workers.answering.answer import Answer as Written
from workers.answering.likely import likelihoods
from workers.engine import Chunk, Likely, Request
from workers.process import InferenceWorker


@dataclass(frozen=True, slots=True)
class Asker:
    """Of one subject of an audit: which tenant asks, with which adapter, and how questions are put.

    `run`: unlike every other attempt's, since an engine may still hold what was stopped.
    """

    worker: InferenceWorker
    tenant_id: str
    run: str
    adapter: str
    render: Render
    seed: int
    alive: Callable[[], None]

    def chats(self) -> bool:
        return self.render == "chat" or (self.render == "auto" and self.worker.text.chats)


@dataclass(frozen=True, slots=True)
class Given:
    """`prompt`: the text as the model was given it; `usage`: what the answer took."""

    prompt: str
    answer: Answer
    usage: dict[str, Any]


@dataclass
class Question:
    """`answer` as often as the item is let into the engine: it goes on where it was."""

    asker: Asker
    suite: str
    item: Item
    _prompt: str = ""
    _ids: Prompt | None = None
    _written: list[Written] = field(default_factory=list)
    _cuts: list[Cut] = field(default_factory=list)
    _told: dict[int, list[Told]] = field(default_factory=dict)
    _engine_s: float = 0.0
    _tries: int = 0

    async def answer(self) -> Given:
        """An item that the engine refuses, or that the model cannot hold, is one without an answer: `finish` says
        why. Raises whatever another attempt may not meet."""
        self._tries += 1
        try:
            async with self.asker.worker.adapters.held(self.asker.adapter):
                match self.item.ask:
                    case Write() as ask:
                        return await self._write(ask)
                    case Score() as ask:
                        return await self._score(ask)
                    case Rolling() as ask:
                        return await self._roll(ask)
        except InvalidInput as error:
            return self._refused(error.message)
        except Refused as error:
            # An adapter that cannot be loaded is no fault of an item's.
            if error.code != Refused.code:
                raise
            return self._refused(error.message)

    def _refused(self, why: str) -> Given:
        return Given(self._prompt, Answer(finish=(f"refused: {why}",)), dict.fromkeys(SPENT, 0))

    async def _write(self, ask: Write) -> Given:
        spec = InferenceSpec.model_construct(
            prompt=ask.plain, max_tokens=ask.max_tokens, n=ask.n, stop=list(ask.stop),
            temperature=ask.temperature, top_p=ask.top_p, top_k=0,
            seed=_seed(self.asker.seed, self.suite, self.item.id) if ask.temperature else None,
        )  # fmt: skip
        if self._ids is None:
            self._ids = Prompt(await self._encoded(ask))
            self._written = [Written(index) for index in range(ask.n)]
        check_length(len(self._ids.ids), ask.max_tokens, self.asker.worker.model.context)
        _, usage = await answered(self._ask(), spec, self._ids, self._written)
        texts = tuple(one.text for one in self._written)
        finish = tuple(one.finish or "stop" for one in self._written)
        return Given(self._prompt, Answer(texts, finish=finish), {n: usage[n] for n in SPENT})

    async def _encoded(self, ask: Write) -> list[int]:
        text, chats = self.asker.worker.text, self.asker.chats()
        self._prompt = marks.without(text.render(ask.messages)) if chats else ask.plain
        if len(self._prompt) <= INLINE_CHARS:
            return text.encode(self._prompt, special=not chats)
        return await asyncio.to_thread(text.encode, self._prompt, special=not chats)

    def _ask(self) -> Ask:
        worker = self.asker.worker
        return Ask(
            id=self.asker.run, request_id=self._request_id(), tenant_id=self.asker.tenant_id,
            engine=worker.engine, model=worker.model, text=worker.text, say=_silent,
            alive=self.asker.alive, adapter=self.asker.adapter,
        )  # fmt: skip

    def _request_id(self) -> str:
        return f"{self.asker.run}-{self.suite}-{self._tries}-{time.monotonic_ns()}"

    async def _score(self, ask: Score) -> Given:
        text, context = self.asker.worker.text, self.asker.worker.model.context
        self._prompt = ask.context or "\n".join(ask.contexts)
        if not self._cuts:
            self._cuts = [fitted(pieces(text, *pair), context) for pair in ask.pairs]
        await self._asked()
        likelihoods = tuple(
            summed(self._told[number], len(continuation.encode()))
            for number, (_, continuation) in enumerate(ask.pairs)
        )
        return self._given(likelihoods)

    async def _roll(self, ask: Rolling) -> Given:
        text, context = self.asker.worker.text, self.asker.worker.model.context
        self._prompt = ask.text
        if not self._cuts:
            self._cuts = await asyncio.to_thread(lambda: list(windows(text, ask, context)))
        if not self._cuts:
            raise InvalidInput("The text has no token to score")
        await self._asked()
        told = [one for number in range(len(self._cuts)) for one in self._told[number]]
        return self._given((summed(told, bytes_scored(text, ask)),))

    def _given(self, likelihoods: tuple[Likelihood, ...]) -> Given:
        tokens = sum(len(cut.given) + len(cut.scored) for cut in self._cuts)
        telemetry.TOKENS.labels(self.asker.worker.model.name, "in").inc(tokens)
        usage = inference.spent(
            {"prompt_tokens": tokens, "engine_seconds": round(self._engine_s, 4)}, 0
        )
        return Given(self._prompt, Answer(likelihoods=likelihoods), {n: usage[n] for n in SPENT})

    async def _asked(self) -> None:
        """Every cut that was not told yet, all at once."""
        began = time.monotonic()
        left = [number for number in range(len(self._cuts)) if number not in self._told]
        try:
            await together([self._cut(number) for number in left])
        finally:
            self._engine_s += time.monotonic() - began

    async def _cut(self, number: int) -> None:
        cut, asker = self._cuts[number], self.asker
        likely = await likelihoods(
            asker.worker.engine,
            Request(
                id=f"{self._request_id()}-{number}", prompt=cut.given + cut.scored, max_tokens=1,
                prompt_logprobs=1, scored_from=len(cut.given), scope=asker.tenant_id,
                adapter=asker.adapter, mute=True,
            ),
            asker.alive,
        )  # fmt: skip
        if len(likely) != len(cut.given) + len(cut.scored):
            raise InvalidInput("The engine told no likelihoods of this prompt")
        self._told[number] = [scored(one) for one in likely[len(cut.given) :] if one is not None]


def scored(likely: Likely) -> Told:
    return Told(likely.logprob, not likely.top or likely.top[0][1] <= likely.logprob)


def _seed(seed: int, suite: str, item: str) -> int:
    """The same for this item in every attempt, and of whoever is asked."""
    raw = hashlib.blake2b(f"{seed}\0{suite}\0{item}".encode(), digest_size=8).digest()
    return int.from_bytes(raw) >> 1


def _silent(_chunk: Chunk, _index: int, _likely: list[dict[str, Any]]) -> None:
    """An item is told of when it is recorded."""
