"""One attempt of a dataset job: files fetched, the pipeline run, what it made kept and registered once."""

import asyncio
import importlib.metadata
import shutil
from pathlib import Path
from typing import Any

import orjson

from core.catalog import artifacts, datasets
from core.catalog.datasets import NewDataset
from core.errors import Refused, Retryable
from core.events import types
from core.jobs.dataset import DatasetSpec, Source
from workers.children import inputs, scratch
from workers.children.follow import followed
from workers.context import Attempt
from workers.process import FinetuneWorker
from workers.ranks import Ranks

# Problems that go into the job's error; all of them are in its log.
SHOWN = 10


async def handle(worker: FinetuneWorker, attempt: Attempt) -> tuple[dict[str, Any], dict[str, Any]]:
    """An attempt begins anew: the same sources give the same bytes, and the version is the job's own.

    Raises Refused for data that cannot be used, Retryable when the pipeline died.
    """
    folder = scratch.made(worker.folder, worker.id, attempt.claim.id)
    try:
        return await _made(worker, attempt, folder), {}
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _made(worker: FinetuneWorker, attempt: Attempt, folder: Path) -> dict[str, Any]:
    spec = DatasetSpec.model_validate(attempt.claim.spec)
    attempt.tell(types.PROGRESS, {"phase": "fetching"})
    sources, of = await _sources(worker, attempt, spec.sources, folder, "sources")
    held, of_held = await _sources(worker, attempt, spec.validation, folder, "validation")
    base = await inputs.base(worker, attempt)
    plan = {
        "sources": sources,
        "validation": held,
        "validation_share": spec.validation_share,
        "format": spec.format,
        "filters": spec.filters,
        "augment": spec.augment,
        "tokenizer": base.model.source,
        "max_length": spec.max_length or base.model.context,
        "packing": spec.packing,
        "rows": True,
        "seed": spec.seed or 0,
        "out": str(folder / "out"),
    }
    report = await _ran(worker, attempt, folder, plan)
    attempt.tell(types.PROGRESS, {"phase": "registering", "data": report})
    made = folder / "out"
    # Ids are those of one tokenizer; who trains on the set makes them anew, with the model's own.
    for name in ("train", "validation"):
        await asyncio.to_thread(shutil.rmtree, made / name, ignore_errors=True)
    lineage = {
        "job": attempt.claim.id,
        "data": of + of_held,
        "code": importlib.metadata.version("penstock"),
        "settings": {
            k: plan[k] for k in ("format", "filters", "augment", "validation_share", "seed")
        },
    }
    return await _registered(worker, attempt, spec.name, made, report, lineage)


async def _registered(
    worker: FinetuneWorker,
    attempt: Attempt,
    name: str,
    made: Path,
    report: dict[str, Any],
    lineage: dict[str, Any],
) -> dict[str, Any]:
    """Seen once the job has succeeded. What an attempt that died then registered is found again."""
    artifact = await artifacts.keep(worker.storage, made, "dataset")
    claim = attempt.claim
    async with worker.db.begin() as session:
        new = NewDataset(claim.tenant_id, name, report, lineage, claim.id)
        version = await datasets.add(session, new, artifact)
        return {
            "dataset": version.id,
            "name": version.name,
            "number": version.number,
            "digest": version.digest,
            "report": report,
        }


async def _sources(
    worker: FinetuneWorker, attempt: Attempt, given: list[Source], folder: Path, param: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """As the pipeline's plan has them, and as the lineage does."""
    plan: list[dict[str, Any]] = []
    of: list[dict[str, Any]] = []
    for number, source in enumerate(given):
        if source.file is not None:
            at = f"{param}.{number}.file"
            into = folder / f"{param}-{number}"
            file = await inputs.fetched(
                worker, attempt.claim.tenant_id, source.file, into, param=at
            )
            plan.append({"path": str(file.path), "name": file.name})
            of.append({"file": file.id, "sha256": file.sha256})
        else:
            plan.append(source.model_dump(exclude_none=True))
            of.append(plan[-1])
    return plan, of


async def _ran(
    worker: FinetuneWorker, attempt: Attempt, folder: Path, plan: dict[str, Any]
) -> dict[str, Any]:
    """The pipeline's report."""
    last: dict[str, Any] = {}

    def hear(event: dict[str, Any]) -> None:
        match event["type"]:
            case "phase":
                attempt.tell(types.PROGRESS, {"phase": event["phase"]})
            case "progress":
                attempt.tell(types.PROGRESS, {"phase": event["phase"], "rows": event["rows"]})
            case "done" | "failed":
                last.update(event)

    place = folder / "plan.json"
    await asyncio.to_thread(place.write_bytes, orjson.dumps(plan))
    ranks = Ranks("workers.data", place, silent_s=worker.settings.training_silent_s)
    await followed(ranks, attempt, hear, grace_s=0)
    if last.get("type") == "done":
        report: dict[str, Any] = last["report"]
        return report
    if not last or last.get("retryable"):
        raise Retryable(last.get("message", "The data pipeline stopped before its end."))
    for problem in last["problems"]:
        attempt.tell(types.PROGRESS, {"phase": "reading", "problem": problem})
    shown = "".join(
        f"\n{one['file']} line {one['line']}: {one['field']} {one['message']}"
        for one in last["problems"][1:SHOWN]
        if one["line"]
    )
    raise Refused(f"{last['message']}{shown}", code=last["code"])
