"""A whole Penstock for a test: the embedded stack and our processes, each startable and killable alone."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from alembic import command
from alembic.config import Config

from core.config import MODEL_FOLDER, Settings, settings
from core.db.session import Database
from core.security import keys
from core.security.keys import BY_SETTINGS, Rate, Unit
from infra.folder import free_port
from infra.local import Stack, embedded
from infra.part import Part

ROOT = Path(__file__).parent.parent
SCRIPTED = "tests.fakes.engine:ScriptedEngine"
SCRIPTED_EMBEDDER = "tests.fakes.embedder:ScriptedEmbedder"


def migrate(url: str) -> None:
    """Bring the database at `url` to the newest schema, in this process."""
    before = os.environ.get("DATABASE_URL")
    os.environ["DATABASE_URL"] = url
    settings.cache_clear()
    try:
        config = Config()
        config.set_main_option("script_location", str(ROOT / "migrations"))
        command.upgrade(config, "head")
    finally:
        os.environ.pop("DATABASE_URL")
        if before is not None:
            os.environ["DATABASE_URL"] = before
        settings.cache_clear()


@dataclass
class Rig:
    """`env`: settings beside the stack's own. Processes are named api, control, inference, webhooks,
    embedding."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    stack: Stack = field(init=False)
    parts: dict[str, Part] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stack = embedded(self.folder)

    @property
    def environment(self) -> dict[str, str]:
        defaults = {
            "PENSTOCK_ENGINE": SCRIPTED,
            "PENSTOCK_EMBEDDING_ENGINE": SCRIPTED_EMBEDDER,
            "PENSTOCK_EMBEDDING_MODEL": str(MODEL_FOLDER),
            "PENSTOCK_EMBEDDING_MODEL_NAME": "scripted-embedder",
            "PENSTOCK_SCRIPTED_DIR": str(self.folder),
            "PENSTOCK_WEBHOOK_ALLOW_NETS": "127.0.0.0/8",
            "PENSTOCK_WEBHOOK_ALLOW_HTTP": "true",
            "PENSTOCK_ENGINE_DTYPE": "float32",
            "PENSTOCK_STORAGE_URL": str(self.folder / "files"),
            "PENSTOCK_TRAINER": "tests.fakes.trainer",
            "PENSTOCK_TRAINING_DIR": str(self.folder / "training"),
            "PENSTOCK_ADAPTER_DIR": str(self.folder / "adapters"),
            "PENSTOCK_MODEL_DIR": str(self.folder / "models"),
        }
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")}
        return inherited | defaults | self.stack.env() | self.env

    def settings(self) -> Settings:
        """Settings of this rig for code that runs in the test itself."""
        mine = {k: v for k, v in self.environment.items() if k.startswith("PENSTOCK_")}
        values = {k.removeprefix("PENSTOCK_").lower(): v for k, v in mine.items()}
        known: dict[str, Any] = {k: v for k, v in values.items() if k in Settings.model_fields}
        urls = self.stack.env()
        return Settings(
            _env_file=None,
            database_url=urls["DATABASE_URL"],
            redis_url=urls["REDIS_URL"],
            kafka_bootstrap_servers=urls["KAFKA_BOOTSTRAP_SERVERS"],
            **known,
        )

    def start_stack(self) -> None:
        self.stack.start()
        migrate(self.stack.env()["DATABASE_URL"])

    def start(self, *names: str) -> None:
        """Start these of our processes, at once, and wait until each is ready."""
        for name in names:
            self.process(name).spawn()
        for name in names:
            self.parts[name].await_ready(120)

    def process(self, name: str, number: int = 1) -> Part:
        """The part for one of our processes; `number` tells several of a kind apart."""
        label = name if number == 1 else f"{name}{number}"
        if label not in self.parts:
            port = self.ports[label] = free_port()
            path = "/health/live" if name == "api" else "/health/ready"
            arguments = ["api", "--port", str(port)] if name == "api" else [name]
            if name in ("inference", "webhooks", "embedding", "finetune"):
                arguments = ["worker", name]
            env = self.environment
            if name != "api":
                env |= {"PENSTOCK_METRICS_PORT": str(port)}
            self.parts[label] = Part(
                name=label,
                argv=[sys.executable, "-m", "infra.cli.main", *arguments],
                env=env,
                log=self.folder / "logs" / f"{label}.log",
                ready=_answers(f"http://127.0.0.1:{port}{path}"),
                grace_s=40,
            )
        return self.parts[label]

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['api']}"

    async def key(
        self,
        tenant: str,
        rate: Rate = BY_SETTINGS,
        tenant_rate: Mapping[Unit, int | None] | None = None,
        roles: Sequence[str] = (),
    ) -> str:
        """A new API key; `tenant_rate` is all keys' of its tenant."""
        database = Database(self.settings(), name="test", pool=1)
        async with database.begin() as session:
            _, key = await keys.create(session, tenant=tenant, name="test", rate=rate, roles=roles)
            if tenant_rate is not None:
                await keys.limit_tenant(session, tenant, tenant_rate)
        await database.close()
        return key

    def client(self, key: str, **options: object) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.base_url,
            headers={"authorization": f"Bearer {key}"},
            timeout=60,
            trust_env=False,
            **options,  # type: ignore[arg-type]
        )

    def end(self) -> None:
        """Stop everything; what does not stop is killed."""
        for part in self.parts.values():
            part.kill()
        self.stack.kill()


def _answers(url: str) -> Callable[[], bool]:
    def answers() -> bool:
        try:
            return httpx.get(url, timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    return answers


@contextmanager
def running(folder: Path, env: Mapping[str, str], *names: str) -> Iterator[Rig]:
    """A rig of its own with its stack and these processes; all of it ends with the block."""
    made = Rig(folder, dict(env))
    try:
        made.start_stack()
        made.start(*names)
        yield made
    finally:
        made.end()
