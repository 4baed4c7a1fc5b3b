"""The embedder on the real model: the vectors are those that sentence-transformers itself makes."""

import json
import subprocess
import sys

import pytest

from tests.rig import ROOT

pytestmark = pytest.mark.engine

# In a process of its own: torch and its libraries warn at their import, and warnings are errors here.
SCRIPT = """
import asyncio, json
from array import array
from core.catalog import tokenizer
from core.config import Settings
from workers.sentence_engine import SentenceEmbedder, passes
from sentence_transformers import SentenceTransformer

TEXTS = ["How do I reset my password?", "How can I change my password?", "The river is long. " * 40, "a"]

async def main():
    settings = Settings(_env_file=None)
    embedder = SentenceEmbedder(settings)
    served = await embedder.start()
    text = tokenizer.load(settings.embedding_source)
    ids = [text.encode(one) for one in TEXTS]
    ours = [array("f", one).tolist() for one in await embedder.embed(ids)]
    theirs = SentenceTransformer(settings.embedding_source).encode(TEXTS).tolist()
    idle = embedder.idle_s()
    await embedder.close()
    lengths = list(map(len, ids))
    split = passes([256] * 100)
    print("REPORT" + json.dumps([served.name, served.context, served.dimensions, ours, theirs, idle, lengths, split]))

asyncio.run(main())
"""


def test_vectors_are_sentence_transformers_own_whatever_is_batched_with_them() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    report = done.stdout.partition("REPORT")[2]
    name, context, dimensions, ours, theirs, idle, lengths, split = json.loads(report)
    assert (name, context, dimensions) == ("all-MiniLM-L6-v2", 256, 384)
    for mine, reference in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(reference, abs=1e-5)
    similarity = sum(x * y for x, y in zip(ours[0], ours[1], strict=True))
    assert 0.8 < similarity < 0.95
    assert idle == 0
    # The package's tokenizer is set to cut at 128 and to pad up to it: neither may happen.
    assert lengths[2] > 128
    assert lengths[3] == 3
    assert sorted(place for one in split for place in one) == list(range(100))
    assert max(map(len, split)) * 256 <= 1024
