"""The engine over vLLM's AsyncLLM: many requests at once by continuous batching. The only module that imports vllm.

AsyncLLM with the uniproc executor: the model runs in one child process, apart from Celery and
our heartbeat (measured 3 500 to 4 500 tokens/s at 64 to 256 requests, against 2 400 to 3 600 in process).
"""

import contextlib
import itertools
import math
import os
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog
from vllm import SamplingParams
from vllm.config import StructuredOutputsConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.inputs.engine import tokens_input
from vllm.lora.request import LoRARequest
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError
from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

from core.catalog.models import Served
from core.config import Settings
from core.errors import Refused
from workers.engine import AdapterBroken, Chunk, EngineDead, Likely, Request
from workers.vllm_plugin import NICE, PARENT
from workers.vllm_scoring import SCORED_FROM, Scoring

log = structlog.get_logger(__name__)

FORCED = "penstock_forced"
# The ranks that vLLM makes room for (its LoRAConfig).
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


class VllmEngine:
    """See workers.engine.Engine for the contract."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._llm: Any = None
        self._loras: dict[str, LoRARequest] = {}
        # Never given twice: what failed to load may have left something under its number. And beyond the first
        # ones, which vLLM gives to what it warms up with.
        self._numbers = itertools.count(10_000)
        self._open = 0
        self._moved = time.monotonic()

    async def start(self) -> Served:
        settings = self._settings
        began = time.monotonic()
        # Read in the child by workers.vllm_plugin, which ties its life to ours.
        os.environ[PARENT] = str(os.getpid())
        options = _adapting(settings)
        if current_platform.is_cpu():
            options |= _on_cpu(settings)
        # Its V2 runner has another interface for logits processors than Forced (docs/decisions/0007).
        os.environ.setdefault("VLLM_USE_V2_MODEL_RUNNER", "0")
        if settings.engine_max_context:
            options["max_model_len"] = settings.engine_max_context
        self._llm = AsyncLLM.from_engine_args(
            AsyncEngineArgs(
                model=settings.model,
                dtype=settings.engine_dtype,
                max_num_seqs=settings.engine_max_sequences,
                enforce_eager=settings.engine_eager,
                distributed_executor_backend="uni",
                stream_interval=settings.engine_stream_interval,
                disable_log_stats=True,
                # Pickled weights can run code; safetensors cannot.
                load_format="safetensors",
                # top_k and the like are the job's, never the model folder's.
                generation_config="vllm",
                logits_processors=[f"{__name__}:{Forced.__name__}"],
                worker_extension_cls=f"{Scoring.__module__}.{Scoring.__name__}",
                # The library that admission checks with. A weak model would fill free whitespace for ever.
                structured_outputs_config=StructuredOutputsConfig(
                    backend="guidance", disable_any_whitespace=True
                ),
                **options,
            )
        )
        await self._llm.collective_rpc(Scoring.score_what_is_asked.__name__)
        context = int(self._llm.model_config.max_model_len)
        log.info("engine loaded", model=settings.served_name, context=context,
                 seconds=round(time.monotonic() - began, 1))  # fmt: skip
        return Served(settings.served_name, settings.model, context)

    async def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        async with contextlib.aclosing(self._generate(request)) as stream:
            async for chunk in stream:
                if _is_short(chunk):
                    break
                yield chunk
            else:
                return
        whole = replace(request, id=f"{request.id}-again", scored_from=1)
        async with contextlib.aclosing(self._generate(whole)) as stream:
            async for chunk in stream:
                yield chunk

    async def _generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        # The salt keeps the prefix cache of one tenant from answering, and timing, another's prompts.
        prompt = tokens_input(request.prompt, cache_salt=request.scope or None)
        self._moved = time.monotonic() if self._open == 0 else self._moved
        self._open += 1
        try:
            # A KeyError is ours: an adapter that is not loaded would be looked for inside a step, and kill
            # the engine with everybody in it.
            lora = self._loras[request.adapter] if request.adapter else None
            stream = self._llm.generate(prompt, _params(request), request.id, lora_request=lora)
            # Closing ours must close vLLM's at once: that is what aborts the request in the engine.
            async with contextlib.aclosing(stream):
                async for output in stream:
                    self._moved = time.monotonic()
                    yield _chunk(output, request)
        except EngineDeadError as error:
            raise EngineDead("The model engine died.") from error
        except ValueError as error:
            raise Refused(f"The engine refuses this request: {error}") from error
        finally:
            self._open -= 1

    async def adapt(self, digest: str, folder: Path) -> None:
        if digest in self._loras:
            return
        # The name and the folder are part of what vLLM knows a cached prefix by; the number is not.
        lora = LoRARequest(lora_name=digest, lora_int_id=next(self._numbers), lora_path=str(folder))
        try:
            await self._llm.add_lora(lora)
        except EngineDeadError as error:
            raise EngineDead("The model engine died.") from error
        except Exception as error:  # vLLM's own tell only what happened, as text
            # It may be there by half: in vLLM's list, with some of its layers.
            with contextlib.suppress(Exception):
                await self._llm.remove_lora(lora.lora_int_id)
            log.warning("an adapter was not loaded", adapter=digest, error=str(error))
            raise AdapterBroken(
                f"The adapter {digest[:12]} cannot be applied to this model: {_reason(error)}"
            ) from error
        self._loras[digest] = lora

    async def forget(self, digest: str) -> None:
        if (lora := self._loras.pop(digest, None)) is None:
            return
        try:
            await self._llm.remove_lora(lora.lora_int_id)
        except EngineDeadError as error:
            raise EngineDead("The model engine died.") from error

    def idle_s(self) -> float:
        return time.monotonic() - self._moved if self._open else 0.0

    async def close(self) -> None:
        if self._llm is not None:
            self._llm.shutdown()
            self._llm = None


def _on_cpu(settings: Settings) -> dict[str, Any]:
    """What vLLM reads from the environment is set, the rest returned."""
    os.environ[NICE] = "5"
    # vLLM turns "uni" into one more process on CPU unless this says 0; AsyncLLM itself ignores it.
    # That process would only cost: 1 950 instead of 3 500 tokens/s at 64 requests, 20 s of start.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    # Threads that spin between steps would hold the cores that everything else here needs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # A core for the scheduler, the heartbeat and whoever else runs here: vLLM's own executor for
    # CPUs reserves one too (vllm/utils/ompmultiprocessing.py), the one for a single process does not.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) - 1)))
    return {
        "kv_cache_memory_bytes": settings.engine_kv_cache_mb * 2**20,
        # Prompts share whole blocks. vLLM's 128 leaves out most contexts of a question; its kernels take
        # multiples of 32, and decode no slower: 8.4 s of CPU for 25,600 tokens, against 8.9 s.
        "block_size": 32,
    }


def _adapting(settings: Settings) -> dict[str, Any]:
    if not settings.engine_loras:
        return {}
    return {
        "enable_lora": True,
        # As many as can be used at once, so that it never has to choose one that goes.
        "max_loras": settings.engine_loras,
        "max_cpu_loras": settings.engine_loras,
        "max_lora_rank": next(rank for rank in RANKS if rank >= settings.engine_lora_rank),
    }


def _reason(error: Exception) -> str:
    """What vLLM says of an adapter, without the folder that it names."""
    said = str(error).removeprefix("Call to add_lora method failed: ")
    return "its files cannot be read" if "/" in said else said.partition("\n")[0][:300]


def _params(request: Request) -> SamplingParams:
    form = dict(request.form or {})
    if "json_schema" in form:
        form["json"] = form.pop("json_schema")
    return SamplingParams(
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        top_k=max(request.top_k, 0),
        top_p=request.top_p,
        min_p=request.min_p,
        seed=request.seed,
        min_tokens=request.min_tokens,
        ignore_eos=request.ignore_eos,
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        repetition_penalty=request.repetition_penalty,
        logit_bias=request.logit_bias,
        logprobs=request.logprobs,
        prompt_logprobs=request.prompt_logprobs,
        structured_outputs=StructuredOutputsParams(**form) if form else None,
        extra_args=_extra(request),
        skip_reading_prefix_cache=not _reads(request),
        output_kind=RequestOutputKind.DELTA,
        # vLLM would make text of every likely token of a prompt, in Python, which costs more than scoring it.
        detokenize=not request.mute,
    )


def _extra(request: Request) -> dict[str, Any] | None:
    """What vLLM does not know of, for Forced and workers.vllm_scoring."""
    extra: dict[str, Any] = {FORCED: list(request.forced)} if request.forced else {}
    if request.scored_from > 1:
        extra[SCORED_FROM] = request.scored_from
    return extra or None


def _reads(request: Request) -> bool:
    """Whether the cache of prefixes may be read: it holds no likelihoods.

    Not where most is scored, since what the cache then had would have to be asked for again.
    """
    return request.prompt_logprobs is None or request.scored_from > len(request.prompt) // 2


def _is_short(chunk: Chunk) -> bool:
    """Whether the cache had so much that a token whose likelihood was asked for has none."""
    return any(one is not None and math.isnan(one.logprob) for one in chunk.prompt_logprobs or ())


def _chunk(output: Any, request: Request) -> Chunk:
    part = output.outputs[0]
    of_prompt: list[Likely | None] | None = None
    if request.prompt_logprobs is not None and output.prompt_logprobs:
        # vLLM's first stands for the token that nothing is before.
        rows = output.prompt_logprobs[1:]
        of_prompt = [None] * request.scored_from
        of_prompt += [_likely(row, request.prompt_logprobs) for row in rows]
    rows = part.logprobs or () if request.logprobs is not None else ()
    return Chunk(
        part.text,
        list(part.token_ids),
        part.finish_reason,
        [_likely(row, request.logprobs or 0) for row in rows],
        of_prompt,
        output.num_cached_tokens,
    )


def _likely(row: dict[int, Any], count: int) -> Likely:
    """vLLM's {token id: Logprob}, the token itself first, then the likeliest without it."""
    token = next(iter(row))
    ranked = sorted((one.rank or 0, other, one.logprob) for other, one in row.items())
    return Likely(
        token, row[token].logprob, [(other, logprob) for _, other, logprob in ranked[:count]]
    )


class Forced(AdapterLogitsProcessor):  # type: ignore[misc]  # vLLM ships no types
    """In the engine's process: the answer's first tokens are those that extra_args names.

    It runs after the grammar's mask and before the penalties, which both go on counting the forced tokens as
    if they had been chosen; so does the row of random numbers (docs/decisions/0007).
    """

    def is_argmax_invariant(self) -> bool:
        return False

    def new_req_logits_processor(self, params: SamplingParams) -> Any:
        forced = (params.extra_args or {}).get(FORCED)
        return _Forcing(forced) if forced else None


class _Forcing:
    def __init__(self, tokens: list[int]) -> None:
        self._tokens = tokens

    def __call__(self, said: list[int], logits: Any) -> Any:
        if len(said) < len(self._tokens):
            logits.fill_(float("-inf"))
            # Zero: neither penalty nor temperature can move it below what is impossible.
            logits[self._tokens[len(said)]] = 0.0
        return logits
