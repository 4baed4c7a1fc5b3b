"""The engine seams: what a worker needs of anything that turns tokens into text, or into vectors."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from core.catalog.models import Served
from core.errors import Refused, Retryable


class EngineDead(Retryable):
    """The engine is gone for good; the worker process hands its jobs back and ends."""

    code = "engine_dead"


class AdapterBroken(Refused):
    """An adapter that this engine can never apply: its files are not what they should be."""

    code = "adapter_refused"


@dataclass(frozen=True, slots=True)
class Request:
    """`prompt`: token ids, with what earlier attempts generated at their end.

    `scope`: cached prefixes are shared within one, never across. `form`: what the answer must look like,
    as core.jobs.structured.Structured has it. `forced`: the answer's first tokens are these, chosen like any
    other and yielded again: grammar, penalties and random numbers walk the way they walked before.
    `logprobs`, `prompt_logprobs`: alternatives to tell of each token; 0 is the token alone, None nothing.
    `scored_from`: the place in `prompt` of the first token that `prompt_logprobs` tells of; what stands before it
    may come from a cache.
    `mute`: only how likely its tokens are is of interest, and no text need be made of any.
    `adapter`: the digest of one that was loaded by `adapt` and stays so until the request ends; empty: none.
    """

    id: str
    prompt: list[int]
    max_tokens: int
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    scope: str = ""
    min_p: float = 0.0
    min_tokens: int = 0
    ignore_eos: bool = False
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: dict[int, float] | None = None
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    form: dict[str, Any] | None = None
    forced: tuple[int, ...] = ()
    adapter: str = ""
    scored_from: int = 1
    mute: bool = False


@dataclass(frozen=True, slots=True)
class Likely:
    """A token, how likely it was (natural log), and the likeliest tokens in its place, best first."""

    token: int
    logprob: float
    top: list[tuple[int, float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one or more engine steps added. `finish`: stop or length with the last chunk.

    `logprobs`: one for each of `tokens`, when asked for. With the first chunk, where the engine tells:
    `prompt_logprobs`, one for each token, None before `scored_from`, and `cached`, the prompt tokens that cost nothing.
    """

    text: str
    tokens: list[int]
    finish: str | None = None
    logprobs: list[Likely] = field(default_factory=list)
    prompt_logprobs: list[Likely | None] | None = None
    cached: int | None = None


class Loaded(Protocol):
    """One model in a worker process, whatever it does."""

    async def start(self) -> Served:
        """Load the model; seconds to minutes. Raises when it cannot be served."""

    def idle_s(self) -> float:
        """Seconds since it last made progress on any request; 0 when it has none."""

    async def close(self) -> None: ...


class Engine(Loaded, Protocol):
    """One that writes, many requests at once."""

    def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Chunks until the request ends; closing the generator drops the request at once.

        Raises EngineDead, Refused for a request this engine can never serve.
        """

    async def adapt(self, digest: str, folder: Path) -> None:
        """Load an adapter whose files are in `folder`, which stays as it is until `forget`; neighbours go on.

        workers/adapters.py sees to it that no more are loaded than the settings' `engine_loras`. Raises
        AdapterBroken, and then nothing is loaded; EngineDead.
        """

    async def forget(self, digest: str) -> None:
        """Let a loaded adapter go that no request uses."""


class Embedder(Loaded, Protocol):
    """One that makes a vector of a text."""

    async def embed(self, texts: Sequence[Sequence[int]]) -> list[bytes]:
        """A vector for each list of token ids: float32, little-endian, as long as the model's `dimensions`
        and of length 1 where the model says so."""
