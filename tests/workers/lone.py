"""An inference worker around an engine and nothing else: for handlers that ask no database."""

from datetime import UTC, datetime
from typing import Any, cast

from core.catalog import tokenizer
from core.catalog.models import Served
from core.config import MODEL_FOLDER, Settings
from core.db.session import Database
from core.events.log import EventLog
from core.ids import new_id
from core.jobs.attempts import Claim
from core.storage.seam import Storage
from workers.context import Attempt
from workers.engine import Engine
from workers.process import InferenceWorker

CONTEXT = 2048


def worker(engine: Engine, slots: int = 16) -> InferenceWorker:
    """Its connections are nobody's: whoever uses one fails."""
    return InferenceWorker(
        id="lone", kind="inference", settings=Settings(_env_file=None, engine_max_sequences=slots),
        db=cast(Database, None), events=cast(EventLog, None), storage=cast(Storage, None), engine=engine,
        model=Served("model", str(MODEL_FOLDER), CONTEXT), text=tokenizer.load(str(MODEL_FOLDER)),
    )  # fmt: skip


def attempt(
    of: InferenceWorker,
    spec: dict[str, Any],
    *,
    number: int = 1,
    progress: dict[str, Any] | None = None,
) -> Attempt:
    claim = Claim(
        id=new_id("job"), worker_id=of.id, tenant_id="t", kind=str(spec["kind"]), model=of.model.name,
        attempt=number, failures=0, seq=1, seq_ceiling=4096, spec=spec, progress=progress,
        started=datetime.now(UTC), deadline_in_s=None, waited_s=0.0,
    )  # fmt: skip
    return Attempt(claim, of.voice, 60.0)
