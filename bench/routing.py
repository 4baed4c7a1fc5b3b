"""`python -m bench.routing`: what a router spares a guard's classifier and what it keeps from it, for docs/guard.md.

Through an embedding worker and Redis, as a guard asks. Examples are lines of the training half of our labelled ones,
what is counted are those of the other half, whose groups it has not seen. What it found is kept in bench/data.
"""

import asyncio
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import classifiers
from core.catalog import models
from core.catalog.models import MEASURES
from core.classifiers import labelled, listed
from core.classifiers.classifier import Share, flagged
from core.classifiers.labelled import Line
from core.classifiers.lexical import moderation, refusal
from core.db.session import Database
from core.events.log import connect
from core.guard.routing import Similarity
from core.guard.settings import Router
from core.guard.vectors import Vectors
from tests.rig import ROOT, Rig

PAGE = ROOT / "docs" / "guard.md"
KEPT = Path(__file__).parent / "data" / "routing.json"
THRESHOLDS = (0.15, 0.25, 0.35, 0.45, 0.55)
EXAMPLES, ROUNDS, TOGETHER = 64, 200, 32


def examples(lines: Sequence[Line], *, harmful: bool) -> list[str]:
    """So many of the training half, the first of each group before the second of any."""
    ours = [one for one in lines if not one.held_out and bool(one.labels) == harmful]
    nth: dict[str, int] = {}
    place = []
    for line in ours:
        nth[line.group] = nth.get(line.group, 0) + 1
        place.append((nth[line.group], line.text))
    return [text for _, text in sorted(place, key=lambda one: one[0])][:EXAMPLES]


async def measure(rig: Rig) -> dict[str, Any]:
    database = Database(rig.settings(), name="bench", pool=1)
    async with database.begin() as session:
        served = next(m for m in await models.listed(session) if m.kind == MEASURES)
    await database.close()
    # Whatever else runs here must not decide what is near.
    redis = connect(rig.settings(), timeout_s=60)
    vectors = Vectors(redis, served.digest, wait_s=50)
    lines = list(labelled.lines(labelled.MODERATION, moderation.CATEGORIES))
    wanted = Router(examples=examples(lines, harmful=True), contrast=examples(lines, harmful=False))
    found = {
        "model": [served.name, served.digest],
        "data": [labelled.MODERATION.name, labelled.digest(labelled.MODERATION)],
        "classifier": listed.classifier(moderation.NAME).digest,
        "rows": [await _row(wanted, at, vectors, lines) for at in THRESHOLDS],
        "ms": await _times(wanted, vectors, [one.text for one in lines if one.held_out]),
    }
    await redis.aclose()
    return found


async def _row(
    wanted: Router, threshold: float, vectors: Vectors, lines: Sequence[Line]
) -> dict[str, Any]:
    router = Similarity(wanted.model_copy(update={"threshold": threshold}), vectors.of)
    await router.prepare()
    held_out = [one for one in lines if one.held_out]
    shown = await router.looks([one.text for one in held_out])
    classifier = listed.classifier(moderation.NAME)
    told = [bool(flagged(classifier, s)) for s in classifier.scores([o.text for o in held_out])]
    pairs = [(bool(one.labels), look, hit) for one, look, hit in zip(held_out, shown, told, strict=True)]  # fmt: skip
    answers = [
        one.text
        for one in labelled.lines(labelled.REFUSAL, refusal.CATEGORIES)
        if one.labels == {"none"}
    ]
    ordinary = await router.looks(answers)
    return {
        "threshold": threshold,
        "spared_ordinary": [ordinary.count(False), len(ordinary)],
        "spared_harmless": _share([not look for harm, look, _ in pairs if not harm]),
        "missed_harmful": _share([not look for harm, look, _ in pairs if harm]),
        "missed_flagged": _share([not look for harm, look, hit in pairs if harm and hit]),
        "false_alarms_spared": _share([not look for harm, look, hit in pairs if hit and not harm]),
    }


def _share(of: Sequence[bool]) -> list[int]:
    return [sum(of), len(of)]


async def _times(wanted: Router, vectors: Vectors, texts: Sequence[str]) -> dict[str, float]:
    """Milliseconds a sentence: the median of sentences asked about alone, and of many together."""
    router = Similarity(wanted, vectors.of)
    await router.prepare()
    alone = []
    for number in range(ROUNDS):
        began = time.perf_counter()
        await router.looks([texts[number % len(texts)]])
        alone.append(1000 * (time.perf_counter() - began))
    many = [texts[at : at + TOGETHER] for at in range(0, len(texts) - TOGETHER, TOGETHER)]
    began = time.perf_counter()
    for piece in many:
        await router.looks(piece)
    together = 1000 * (time.perf_counter() - began) / (TOGETHER * len(many))
    return {"alone": statistics.median(alone), "slowest_tenth": sorted(alone)[-ROUNDS // 10],
            "together": together, "classifier": classifiers.speed()}  # fmt: skip


def table() -> str:
    found = json.loads(KEPT.read_text())
    head = ("threshold", "ordinary answers spared", "harmless lines spared", "harmful lines not shown",
            "those of them that the classifier finds, not shown", "its false alarms spared")  # fmt: skip
    names = ("spared_ordinary", "spared_harmless", "missed_harmful", "missed_flagged",
             "false_alarms_spared")  # fmt: skip
    rows = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in found["rows"]:
        cells = (classifiers.said(Share(*row[name])) for name in names)
        rows.append(f"| {row['threshold']:g} | {' | '.join(cells)} |")
    ms = found["ms"]
    told = (
        f"Time of a sentence: {ms['alone']:.1f} ms asked about alone (a tenth took {ms['slowest_tenth']:.1f} "
        f"and more), {ms['together']:.1f} ms each of {TOGETHER} together; `{moderation.NAME}` itself takes "
        f"{ms['classifier']:.2f} ms."
    )
    return "\n".join([*rows, "", told]) + "\n"


def filled(page: str) -> str:
    """The page with its table as it is now; the words around it stay."""
    between = re.compile(r"(<!-- routing -->\n).*?(<!-- /routing -->)", re.DOTALL)
    return between.sub(lambda found: found[1] + table() + found[2], page)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        env = {
            "PENSTOCK_EMBEDDING_ENGINE": "sentence-transformers",
            "PENSTOCK_EMBEDDING_MODEL": "auto",
            "PENSTOCK_EMBEDDING_MODEL_NAME": "",
        }
        rig = Rig(Path(folder), env)
        try:
            rig.start_stack()
            rig.start("embedding")
            KEPT.write_text(json.dumps(asyncio.run(measure(rig)), indent=2) + "\n")
        finally:
            rig.end()
    PAGE.write_text(filled(PAGE.read_text()))
    print(table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
