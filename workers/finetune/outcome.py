"""The end of a training that went well: its files kept, its version registered, what the client gets."""

import importlib.metadata
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from core.catalog import artifacts, versions
from core.catalog.versions import NewVersion
from core.files import service as files
from core.jobs.finetune import FinetuneSpec
from core.jobs.hyper import Resolved
from core.openai.finetuning_answers import metrics_csv
from core.training import service
from workers.children.inputs import Base, Input
from workers.context import Attempt
from workers.process import FinetuneWorker

MAX_REPORT = 64 * 1024**2


async def registered(
    worker: FinetuneWorker,
    attempt: Attempt,
    spec: FinetuneSpec,
    base: Base,
    made: Path,
    result: dict[str, Any],
    lineage: dict[str, Any],
) -> dict[str, Any]:
    """Keep the artefact and register its version, which is seen once the job has succeeded.

    An attempt that died between this and its end did it already: then what it registered stands.
    """
    claim = attempt.claim
    kind: Literal["adapter", "model"] = "adapter" if spec.method.tuning == "lora" else "model"
    artifact = await artifacts.keep(worker.storage, made, kind)
    report = await _report(worker, claim.id)
    async with worker.db.begin() as session:
        known = await versions.of_job(session, claim.id)
        if known is None:
            row = await files.add(
                session,
                claim.tenant_id,
                report,
                filename="step_metrics.csv",
                purpose="fine-tune-results",
            )
            result |= {"files": [row.id]}
        version = known or await versions.add(
            session,
            NewVersion(
                tenant_id=claim.tenant_id,
                base=base.model.name,
                base_digest=base.model.digest,
                suffix=spec.suffix or "",
                kind="adapter" if kind == "adapter" else "full",
                job_id=claim.id,
                lineage=lineage,
                metrics=result,
                context=base.model.context,
            ),
            artifact,
        )
        final = dict(version.metrics) | {"model": version.name, "version": version.id}
    if known is not None:
        await worker.storage.delete(files.key_of(report.id))
    return final


async def _report(worker: FinetuneWorker, job_id: str) -> files.Kept:
    """The metrics of every step as the CSV that OpenAI's clients download."""
    rows: list[dict[str, Any]] = []
    after, more = None, True
    while more:
        async with worker.db.single() as session:
            page, more = await service.events(
                session, job_id, after=after, limit=1000, newest=False
            )
        rows += [row.data for row in page if row.type == "metrics"]
        after = page[-1].id if page else None
    text = metrics_csv(rows)

    async def whole() -> Any:
        yield text

    return await files.keep(worker.storage, whole(), limit=MAX_REPORT)


def lineage(
    attempt: Attempt,
    spec: FinetuneSpec,
    base: Base,
    data: list[dict[str, Any]],
    hyper: Resolved,
    seed: int,
) -> dict[str, Any]:
    """What a version is made of, so that it can be made again."""
    return {
        "job": attempt.claim.id,
        "data": data,
        "base": base.model.name,
        "base_digest": base.model.digest,
        "adapter": base.adapter.digest if base.adapter else None,
        "code": importlib.metadata.version("penstock"),
        "method": spec.method.type,
        "tuning": spec.method.tuning,
        "hyper": asdict(hyper),
        "seed": seed,
    }


def about(given: Input) -> dict[str, Any]:
    return {"file": given.id, "sha256": given.sha256}
