"""The embedder over sentence-transformers: the only module that imports it, and with it torch."""

import asyncio
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
import torch
from sentence_transformers import SentenceTransformer

from core.catalog.models import MEASURES, Served
from core.config import Settings
from core.errors import Refused

log = structlog.get_logger(__name__)

# Token places, padding included, of one forward pass: nothing gets in before its end, and a pass of 1024 takes
# 0.3 s (MiniLM, two cores). From 512 to 4096 a token costs the same; beyond, more.
PLACES = 1024


class SentenceEmbedder:
    """See workers.engine.Embedder for the contract."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._model: Any = None
        # One thread: torch uses the cores within a pass, and two passes at once only share them.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embed")
        self._open = 0
        self._moved = time.monotonic()

    async def start(self) -> Served:
        began = time.monotonic()
        loop = asyncio.get_running_loop()
        self._model = await loop.run_in_executor(self._thread, self._load)
        context, dimensions = self._model.max_seq_length, self._model.get_embedding_dimension()
        if not context or not dimensions:
            raise Refused(
                f"PENSTOCK_EMBEDDING_MODEL={self._settings.embedding_source} does not say how much it "
                "reads or how long its vectors are; use another model"
            )
        name = self._settings.embedding_served_name
        log.info("model loaded", model=name, seconds=round(time.monotonic() - began, 1))
        return Served(
            name,
            self._settings.embedding_source,
            int(context),
            kind=MEASURES,
            dimensions=int(dimensions),
            truncates=self._settings.embedding_truncates,
        )

    def _load(self) -> SentenceTransformer:
        if not torch.cuda.is_available():
            # A core for the heartbeat and whoever else runs here, as with the other engine.
            torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) - 1))
        return SentenceTransformer(
            self._settings.embedding_source,
            # Pickled weights can run code, and so can a model's own modules; safetensors cannot.
            model_kwargs={"use_safetensors": True},
            trust_remote_code=False,
        ).eval()

    async def embed(self, texts: Sequence[Sequence[int]]) -> list[bytes]:
        loop = asyncio.get_running_loop()
        vectors: dict[int, bytes] = {}
        self._moved = time.monotonic() if self._open == 0 else self._moved
        self._open += 1
        try:
            for places in passes([len(ids) for ids in texts]):
                batch = [texts[place] for place in places]
                made = await loop.run_in_executor(self._thread, self._pass, batch)
                vectors.update(zip(places, made, strict=True))
                self._moved = time.monotonic()
        finally:
            self._open -= 1
        return [vectors[place] for place in range(len(texts))]

    def _pass(self, batch: Sequence[Sequence[int]]) -> list[bytes]:
        width = max(map(len, batch))
        ids_BL = torch.full((len(batch), width), self._model.tokenizer.pad_token_id or 0)
        mask_BL = torch.zeros((len(batch), width), dtype=torch.long)
        for row, ids in enumerate(batch):
            ids_BL[row, : len(ids)] = torch.tensor(ids)
            mask_BL[row, : len(ids)] = 1
        device = self._model.device
        with torch.inference_mode():
            # Pooling, normalisation and whatever else the model's modules.json lists are in here.
            features = {"input_ids": ids_BL.to(device), "attention_mask": mask_BL.to(device)}
            vectors_BD = self._model(features)["sentence_embedding"]
        rows = vectors_BD.to("cpu", torch.float32).numpy().astype("<f4")
        return [row.tobytes() for row in rows]

    def idle_s(self) -> float:
        return time.monotonic() - self._moved if self._open else 0.0

    async def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


def passes(lengths: Sequence[int]) -> list[list[int]]:
    """Which texts share a forward pass, by their places: of like lengths, since the shorter are padded."""
    out: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if out and lengths[out[-1][0]] * (len(out[-1]) + 1) <= PLACES:
            out[-1].append(place)
        else:
            out.append([place])
    return out
