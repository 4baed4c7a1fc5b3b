"""A real vLLM engine for the tests of a file, and the whole answer to a request."""

import gc
import importlib
import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from core.catalog import tokenizer
from core.config import MODEL_FOLDER, Settings
from core.ids import new_id
from workers.engine import Chunk, Engine, Request

TEXT = tokenizer.load(str(MODEL_FOLDER))
PROMPT = TEXT.encode("The river runs")


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def engine() -> AsyncIterator[Engine]:
    settings = Settings(
        _env_file=None,
        engine_dtype="float32",
        engine_kv_cache_mb=64,
        engine_max_sequences=16,
        engine_loras=3,
    )
    with warnings.catch_warnings():
        # vLLM and torch warn of their own ways as they load.
        warnings.simplefilter("ignore")
        made: Engine = importlib.import_module("workers.vllm_engine").VllmEngine(settings)
        await made.start()
    yield made
    await made.close()
    with warnings.catch_warnings():
        # vLLM leaves a context of zmq open, which says so when it is collected.
        warnings.simplefilter("ignore")
        gc.collect()


async def said(engine: Engine, **fields: Any) -> Chunk:
    """The whole answer as one chunk."""
    request = Request(id=new_id("r"), prompt=fields.pop("prompt", PROMPT), **fields)
    chunks = [chunk async for chunk in engine.generate(request)]
    return Chunk(
        "".join(c.text for c in chunks),
        [token for c in chunks for token in c.tokens],
        chunks[-1].finish,
        [one for c in chunks for one in c.logprobs],
        next((c.prompt_logprobs for c in chunks if c.prompt_logprobs), None),
        chunks[0].cached,
    )
