"""The engine over vLLM's AsyncLLM: many requests at once by continuous batching. The only module that imports vllm.

AsyncLLM with the uniproc executor: the model runs in one child process, apart from Celery and
our heartbeat (measured 3 500 to 4 500 tokens/s at 64 to 256 requests, against 2 400 to 3 600 in process).
"""

import contextlib
import os
import time
from collections.abc import AsyncGenerator
from typing import Any

import structlog
from vllm import SamplingParams
from vllm.config import StructuredOutputsConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.inputs.engine import tokens_input
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError
from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

from core.catalog.models import Served
from core.config import Settings
from core.errors import Refused
from workers.engine import Chunk, EngineDead, Likely, Request
from workers.vllm_plugin import NICE, PARENT

log = structlog.get_logger(__name__)

FORCED = "penstock_forced"


class VllmEngine:
    """See workers.engine.Engine for the contract."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._llm: Any = None
        self._open = 0
        self._moved = time.monotonic()

    async def start(self) -> Served:
        settings = self._settings
        began = time.monotonic()
        # Read in the child by workers.vllm_plugin, which ties its life to ours.
        os.environ[PARENT] = str(os.getpid())
        options: dict[str, Any] = {}
        if current_platform.is_cpu():
            os.environ[NICE] = "5"
            options["kv_cache_memory_bytes"] = settings.engine_kv_cache_mb * 2**20
            # vLLM turns "uni" into one more process on CPU unless this says 0; AsyncLLM itself ignores it.
            # That process would only cost: 1 950 instead of 3 500 tokens/s at 64 requests, 20 s of start.
            os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
            # Threads that spin between steps would hold the cores that everything else here needs.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
            # A core for the scheduler, the heartbeat and whoever else runs here: vLLM's own executor for
            # CPUs reserves one too (vllm/utils/ompmultiprocessing.py), the one for a single process does not.
            os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) - 1)))
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
                # The library that admission checks with. A weak model would fill free whitespace for ever.
                structured_outputs_config=StructuredOutputsConfig(
                    backend="guidance", disable_any_whitespace=True
                ),
                **options,
            )
        )
        context = int(self._llm.model_config.max_model_len)
        log.info("engine loaded", model=settings.served_name, context=context,
                 seconds=round(time.monotonic() - began, 1))  # fmt: skip
        return Served(settings.served_name, settings.model, context)

    async def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        # The salt keeps the prefix cache of one tenant from answering, and timing, another's prompts.
        prompt = tokens_input(request.prompt, cache_salt=request.scope or None)
        self._moved = time.monotonic() if self._open == 0 else self._moved
        self._open += 1
        try:
            stream = self._llm.generate(prompt, _params(request), request.id)
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

    def idle_s(self) -> float:
        return time.monotonic() - self._moved if self._open else 0.0

    async def close(self) -> None:
        if self._llm is not None:
            self._llm.shutdown()
            self._llm = None


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
        extra_args={FORCED: list(request.forced)} if request.forced else None,
        output_kind=RequestOutputKind.DELTA,
    )


def _chunk(output: Any, request: Request) -> Chunk:
    part = output.outputs[0]
    of_prompt = None
    if request.prompt_logprobs is not None and output.prompt_logprobs:
        of_prompt = [
            None if row is None else _likely(row, request.prompt_logprobs)
            for row in output.prompt_logprobs
        ]
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
