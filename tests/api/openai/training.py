"""What the tests of fine-tuning share: a file, a job, and a worker's hand that the test itself moves."""

import json
from dataclasses import dataclass, field
from typing import Any

from openai import AsyncOpenAI
from openai.types.fine_tuning import FineTuningJob
from sqlalchemy import text

from core.db.session import Database
from core.ids import new_id
from core.jobs import attempts
from core.jobs.attempts import Claim, Outcome, Renewal, Requeue
from core.jobs.job import State
from core.security import keys
from core.training import service as training
from core.training.service import Told

# What a worker chooses, under its own names.
PLAN = {"epochs": 3, "batch_size": 8, "micro_batch": 4, "learning_rate": 1e-3, "lora_rank": 16}
REPORT = {
    "rows": {"read": 20, "kept": 19}, "tokens": 640, "learned_tokens": 210, "digest": "d" * 64,
    "max_length": 128, "packing": True,
}  # fmt: skip


def examples(count: int = 20) -> bytes:
    """So many chats, a line each."""
    said = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
    return b"".join(json.dumps({"messages": said}).encode() + b"\n" for _ in range(count))


async def upload(ai: AsyncOpenAI, purpose: Any = "fine-tune") -> str:
    return (await ai.files.create(file=("train.jsonl", examples()), purpose=purpose)).id


async def begin(ai: AsyncOpenAI, **more: Any) -> FineTuningJob:
    """A job of this file, or of one that is sent now."""
    file = more.pop("training_file", None) or await upload(ai)
    return await ai.fine_tuning.jobs.create(model="rill", training_file=file, **more)


# Jobs of these tenants go to a queue that no worker takes from, from the statement on that makes them.
_BY_HAND = (
    "CREATE TABLE IF NOT EXISTS by_hand (tenant_id text PRIMARY KEY)",
    """CREATE OR REPLACE FUNCTION by_hand() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF EXISTS (SELECT FROM by_hand WHERE tenant_id = NEW.tenant_id) THEN NEW.queue := 'by-hand'; END IF;
           RETURN NEW; END $$""",
    """CREATE OR REPLACE TRIGGER by_hand BEFORE INSERT ON jobs FOR EACH ROW
           WHEN (NEW.kind = 'finetune') EXECUTE FUNCTION by_hand()""",
)


async def by_hand(db: Database, key: str) -> None:
    """Let no worker of the rig take the fine-tunes of this key's tenant: they wait for a Hand."""
    async with db.begin() as session:
        await session.execute(text("SELECT pg_advisory_xact_lock(1)"))
        if await session.scalar(text("SELECT to_regclass('by_hand') IS NULL")):
            for statement in _BY_HAND:
                await session.execute(text(statement))
        tenant = (await keys.authenticate(session, key)).tenant_id
        await session.execute(text("INSERT INTO by_hand VALUES (:tenant)"), {"tenant": tenant})


@dataclass
class Hand:
    """Takes one job and does what a worker of its kind does, when the test says so: no model is trained."""

    db: Database
    job_id: str
    state: dict[str, Any] = field(default_factory=dict)
    claim: Claim | None = None

    @classmethod
    async def take(cls, db: Database, tuning_id: str) -> "Hand":
        hand = cls(db, tuning_id.replace("ftjob-", "job_"))
        async with db.begin() as session:
            (hand.claim,) = await attempts.claim(
                session, [hand.job_id], worker_id=new_id("hand"), lease_s=600
            )
        return hand

    async def know(self, **more: Any) -> None:
        """Its progress, as the heartbeat keeps it."""
        self.state |= more
        async with self.db.begin() as session:
            renewal = Renewal(self.job_id, self._claim.attempt, self._claim.seq, self.state)
            assert await attempts.renew(session, [renewal], lease_s=600)

    async def tell(self, kind: str, *told: dict[str, Any]) -> None:
        rows = [Told(f"{kind}-{new_id('m')}", kind, data) for data in told]
        async with self.db.begin() as session:
            await training.tell(session, self.job_id, self._claim.attempt, rows)

    async def keep(self, step: int, **metrics: float) -> None:
        async with self.db.begin() as session:
            file = {"path": "adapter_model.safetensors", "bytes": 1, "sha256": "0" * 64}
            files = [file | {"at": f"checkpoints/{self.job_id}/1/{step}"}]
            assert await training.keep(
                session, self.job_id, self._claim.attempt, step, files, metrics
            )

    async def end(
        self,
        state: State,
        result: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
    ) -> None:
        data = {"result": result} if result is not None else {"error": error}
        usage = {"prompt_tokens": 640, "completion_tokens": 0, "total_tokens": 640}
        outcome = Outcome(
            self.job_id, self._claim.attempt, state, self._claim.seq + 1,
            result=result, usage=usage, error=error, data=data,
        )  # fmt: skip
        async with self.db.begin() as session:
            assert await attempts.finish(session, [outcome])

    async def give_back(self) -> None:
        """As at a pause: the progress stays."""
        claim = self._claim
        back = Requeue(
            self.job_id, claim.attempt, claim.seq + 1, self.state, "paused", charged=False
        )
        async with self.db.begin() as session:
            assert await attempts.requeue(session, back)

    async def train(self, steps: int = 4) -> None:
        """All that an undisturbed training says, up to its end, with a validation and checkpoint every other step."""
        chosen = {"phase": "preparing", "data": REPORT, "hyperparameters": PLAN}
        await self.tell("progress", {"phase": "reading"}, chosen, {"phase": "training"})
        for step in range(1, steps + 1):
            done = {
                "step": step, "total_steps": steps, "epoch": step / steps, "loss": 2.0 / step,
                "learning_rate": 1e-3, "grad_norm": 0.5, "tokens": 160 * step, "tokens_per_s": 800.0,
                "memory_bytes": 2**29, "eta_s": 10.0 * (steps - step), "token_accuracy": 0.5,
            }  # fmt: skip
            await self.tell("metrics", done)
            if step % 2 == 0:
                seen = {"step": step, "valid_loss": 2.5 / step, "valid_token_accuracy": 0.75}
                await self.tell("metrics", seen)
                await self.tell("checkpoint", {"step": step, "metrics": {"train_loss": 2.0 / step}})
                await self.keep(
                    step, train_loss=2.0 / step, train_token_accuracy=0.5,
                    valid_loss=2.5 / step, valid_token_accuracy=0.75,
                )  # fmt: skip

    async def succeed(self, **more: Any) -> None:
        result = {
            "model": f"ft:rill:t:mine:{self.job_id[-8:]}", "version": new_id("ver"), "steps": 4,
            "trained_tokens": 640, "best_step": 4, "hyperparameters": PLAN, "data": REPORT,
            "files": [],
        }  # fmt: skip
        await self.end(State.SUCCEEDED, result | more)

    @property
    def _claim(self) -> Claim:
        assert self.claim is not None
        return self.claim
