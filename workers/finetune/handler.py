"""A fine-tune from claim to registered version.

    files --store--> here --workers.data--> rows of tokens --workers.trainer, one process a rank--> weights
                                                                 | checkpoints            | metrics
                                                                 v                        v
                                                        store + a row each       numbered events + rows

An attempt goes on from the newest whole checkpoint. Torch lives in the children: this process loads none of it.
"""

import asyncio
import errno
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import structlog

from core.catalog import sizes, tokenizer
from core.errors import Refused, Retryable
from core.jobs import hyper
from core.jobs.finetune import FinetuneSpec, seed_of, usage
from workers.children import inputs, scratch
from workers.children.follow import followed
from workers.children.inputs import Base
from workers.context import Attempt
from workers.finetune import checkpoints, environment, outcome
from workers.finetune.checkpoints import Saver
from workers.finetune.planning import Plan, planned
from workers.finetune.telling import Teller
from workers.process import FinetuneWorker
from workers.ranks import Host, Ranks

log = structlog.get_logger(__name__)


class Failed(Refused):
    """The pipeline or the trainer said why it cannot go on; the code is its own."""

    @classmethod
    def of(cls, event: dict[str, Any]) -> "Failed":
        return cls(event["message"], param=event.get("param"), code=event["code"])


async def handle(worker: FinetuneWorker, attempt: Attempt) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train; returns the result and the usage.

    Raises Refused for what no attempt can do (bad data, loss that is no number, a setting that does not fit),
    Retryable for a trainer that died; Crashed for one that met what nobody foresaw, which is tried once more.
    """
    folder = scratch.made(worker.folder, worker.id, attempt.claim.id)
    spec = FinetuneSpec.model_validate(attempt.claim.spec)
    run = Run(worker, attempt, spec, folder, Teller(worker, attempt))
    flushing = asyncio.create_task(run.teller.keep_flushing())
    try:
        return await run.whole()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise Failed(
            "The disk of the training's worker is full; free some of it, or point PENSTOCK_TRAINING_DIR elsewhere.",
            code="disk_full",
        ) from error
    finally:
        flushing.cancel()
        await asyncio.gather(flushing, return_exceptions=True)
        await run.leave()


@dataclass
class Run:
    """One attempt, with what it finds out on its way."""

    worker: FinetuneWorker
    attempt: Attempt
    spec: FinetuneSpec
    folder: Path
    teller: Teller

    def __post_init__(self) -> None:
        self.saver = Saver(self.worker, self.attempt, self.teller)
        self.seed = seed_of(self.attempt.claim.id, self.spec.seed)
        self.last: dict[str, Any] = {}
        self.hosts: list[Host] = []
        self.report: dict[str, Any] = {}

    async def whole(self) -> tuple[dict[str, Any], dict[str, Any]]:
        base = await inputs.base(self.worker, self.attempt)
        sources, prepared = await self._data(base)
        plan = self._planned(base)
        settings = plan.settings
        self.teller.phase(
            "preparing",
            data=self.report,
            hyperparameters=settings.plan(),
            seed=self.seed,
            estimate=plan.estimate,
        )
        resume = await checkpoints.restored(
            self.worker, self.attempt.claim.id, self.folder / "checkpoints"
        )
        done = await self._train(base, prepared, plan, resume)
        await self.saver.finished()
        await self.teller.flush()
        self.teller.phase("registering")
        result = {
            "steps": done["step"],
            "trained_tokens": done["tokens"],
            "best_step": done.get("best_step"),
            "stopped_early": bool(done.get("stopped_early")),
            "metrics": done.get("metrics") or {},
            "hyperparameters": settings.plan(),
            "data": self.report,
            "seed": self.seed,
        }
        made = outcome.lineage(self.attempt, self.spec, base, sources, settings, self.seed)
        final = await outcome.registered(
            self.worker, self.attempt, self.spec, base, Path(done["path"]), result, made
        )
        await self.teller.flush()
        took = usage(self.attempt.progress()) or {}
        return final, took | {"prompt_tokens": done["tokens"], "total_tokens": done["tokens"],
                              "trained_tokens": done["tokens"]}  # fmt: skip

    async def leave(self) -> None:
        """Save what can be saved within the grace time, and leave nothing on this host."""
        why = self.attempt.why
        if why is None or why.saves:
            try:
                async with asyncio.timeout(self.worker.settings.training_grace_s):
                    await self.saver.finished()
                    await self.teller.flush()
            except Exception as error:  # what is not saved is made again by the next attempt
                log.warning("could not save everything", error=repr(error))
        await self.saver.drop()
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    # --- the data ---

    async def _data(self, base: Base) -> tuple[list[dict[str, Any]], Path]:
        """Where the prepared rows are, and what they were made of, for the lineage."""
        sources, made_of = await (self._files() if self.spec.dataset is None else self._dataset())
        method = self.spec.method
        plan = {
            "sources": sources["training_file"],
            "validation": sources.get("validation_file", []),
            "validation_share": self.spec.validation_share,
            "format": self.spec.format,
            "tokenizer": base.model.source,
            "method": method.type,
            "max_length": hyper.length(method.hyperparameters, base.model.context),
            "packing": hyper.packed(method, _bytes(sources["training_file"])),
            "seed": self.seed,
            "out": str(self.folder / "data"),
        }
        await self._run("workers.data", "data", plan, self._heard_of_data, world=1, grace_s=0)
        return made_of, self.folder / "data"

    async def _files(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The client's files as sources of the pipeline, and for the lineage."""
        self.teller.phase("validating")
        tenant = self.attempt.claim.tenant_id
        wanted = [
            ("training_file", self.spec.training_file),
            ("validation_file", self.spec.validation_file),
        ]
        given = {
            param: await inputs.fetched(
                self.worker, tenant, file_id, self.folder / "files", param=param
            )
            for param, file_id in wanted
            if file_id is not None
        }
        sources = {param: [{"path": str(i.path), "name": i.name}] for param, i in given.items()}
        return sources, [outcome.about(i) for i in given.values()]

    async def _dataset(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The rows of a dataset version, which get the ids of this model's tokenizer now."""
        self.teller.phase("fetching")
        tenant, name = self.attempt.claim.tenant_id, self.spec.dataset
        assert name is not None
        place, digest = await inputs.dataset(self.worker, tenant, name, self.folder / "dataset")
        parts = {"training_file": "train.parquet", "validation_file": "validation.parquet"}
        sources = {
            param: [{"path": str(place / file), "name": f"{name}/{file}"}]
            for param, file in parts.items()
            if (place / file).is_file()
        }
        return sources, [{"dataset": name, "digest": digest}]

    def _heard_of_data(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "done":
                self.report = event["report"]
            case "failed":
                if event.get("retryable"):
                    raise Retryable(event["message"])
                self.teller.problems(event.get("problems") or [])
                raise Failed.of(event)

    # --- the training ---

    def _planned(self, base: Base) -> Plan:
        world, self.hosts = environment.places(self.worker.settings)
        config = sizes.configuration(tokenizer.folder(base.model.source))
        return planned(self.spec, self.report, config, world)

    async def _train(
        self, base: Base, prepared: Path, plan: Plan, resume: Path | None
    ) -> dict[str, Any]:
        method = self.spec.method
        start_from = None
        if base.adapter is not None:
            start_from = str(
                await inputs.adapter(self.worker, base.adapter, self.folder / "adapter")
            )
        # The trainer asks no hub; who serves the model may be another host.
        model = await asyncio.to_thread(tokenizer.folder, base.model.source, weights=True)
        asked = {
            "model": str(model),
            "base_name": base.model.name,
            "start_from": start_from,
            "method": method.type,
            "tuning": method.tuning,
            "data": str(prepared),
            "out": str(self.folder / "out"),
            "checkpoints": str(self.folder / "checkpoints"),
            "resume": str(resume) if resume is not None else None,
            "hyper": plan.settings.plan(),
            "dtype": plan.dtype,
            "deepspeed": plan.deepspeed,
            "seed": self.seed,
        }
        await self._run(
            self.worker.settings.trainer, "train", asked, self._heard_of_training, world=plan.world,
            grace_s=self.worker.settings.training_grace_s,
        )  # fmt: skip
        if self.last.get("type") != "done":
            # It was asked to stop, and the wish to go on came before it had.
            raise Retryable("The training stopped before its end.")
        return self.last

    def _heard_of_training(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "phase":
                self.teller.phase(event["phase"])
            case "step":
                self.teller.step(event)
            case "eval":
                self.teller.valid(event)
            case "checkpoint":
                metrics = dict(event.get("metrics") or {}) | {"best_step": event.get("best_step")}
                self.saver.save(event["step"], Path(event["path"]), metrics)
            case "done" | "stopped":
                self.last = event
            case "failed":
                raise Failed.of(event)

    async def _run(
        self, module: str, name: str, plan: dict[str, Any], hear: Any, *, world: int, grace_s: float
    ) -> None:
        place = self.folder / name
        place.mkdir(exist_ok=True)
        (place / "plan.json").write_bytes(orjson.dumps(plan))
        ranks = Ranks(
            module, place / "plan.json", world=world, env=environment.environment(),
            silent_s=self.worker.settings.training_silent_s, hosts=self.hosts if world > 1 else (),
        )  # fmt: skip
        await followed(ranks, self.attempt, hear, grace_s=grace_s)


def _bytes(sources: list[dict[str, Any]]) -> int:
    return sum(Path(source["path"]).stat().st_size for source in sources)
