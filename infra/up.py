"""`penstock up`: the embedded stack and Penstock's own processes under one supervisor."""

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.config import Settings, settings
from core.db.session import Database
from core.errors import Unauthenticated
from core.security import keys
from infra import demo, local
from infra.children import children
from infra.folder import is_free, locked, open_folder, write_private
from infra.migrate import migrate
from infra.part import PartFailed
from infra.progress import Progress
from infra.supervisor import Stage, Supervision, supervise

# The setting that makes an embedded part needless, by the part's name.
GIVEN = {
    "postgres": "database_url",
    "redis": "redis_url",
    "kafka": "kafka_bootstrap_servers",
}
# In the data folder, unless the setting names another place.
FOLDERS = {
    "storage_url": "files",
    "adapter_dir": "adapters",
    "model_dir": "models",
    "training_dir": "training",
}
# A receiver on one's own machine is what one has while trying webhooks out.
DEVELOPMENT = {
    "webhook_allow_nets": ("PENSTOCK_WEBHOOK_ALLOW_NETS", "127.0.0.0/8,::1/128"),
    "webhook_allow_http": ("PENSTOCK_WEBHOOK_ALLOW_HTTP", "true"),
}


def up(data_dir: Path, host: str, port: int, *, show: bool) -> None:
    """Run until a signal; `show` submits one job when all is ready and prints its tokens.

    Raises FolderInUse, and PartFailed when something does not start.
    """
    folder = open_folder(data_dir)
    with locked(folder):
        if not is_free(port):
            raise PartFailed(f"port {port} is taken by another program: choose one with --port")
        given = Settings().model_fields_set
        stack = local.embedded(folder, names=[n for n, f in GIVEN.items() if f not in given])
        os.environ.update(stack.env())
        os.environ.update(dict(pair for name, pair in DEVELOPMENT.items() if name not in given))
        os.environ.update({f"PENSTOCK_{name.upper()}": str(folder / own)
                           for name, own in FOLDERS.items() if name not in given})  # fmt: skip
        config = settings()
        own, later, metrics = children(folder, host, port, config)
        url = f"http://127.0.0.1:{port}"
        progress = Progress()

        def facts() -> dict[str, Any]:
            return {
                "base_url": url,
                "api_key": (folder / "api_key").read_text().strip(),
                "ports": {**stack.ports, "api": port},
                "metrics": {n: f"http://127.0.0.1:{p}/metrics" for n, p in metrics.items()},
                "urls": {name: getattr(config, setting) for name, setting in GIVEN.items()},
            }

        def ready() -> None:
            progress.say(f"Penstock is ready at {url}")
            if show:
                # Beside the supervision, which goes on meanwhile.
                arguments = (url, facts()["api_key"], config.served_name)
                threading.Thread(target=demo.show, args=arguments, daemon=True).start()

        supervise(
            Supervision(
                folder,
                [
                    Stage(list(stack.parts.values()), lambda: prepare(folder, config)),
                    Stage(own),
                ],
                facts,
                ready,
                progress,
                later=later,
            )
        )


def prepare(folder: Path, config: Settings) -> None:
    """Migrate, and see to it that folder/api_key holds a key that works."""
    migrate()
    path = folder / "api_key"
    kept = path.read_text().strip() if path.exists() else ""
    asyncio.run(_working_key(kept, lambda key: write_private(path, key), config))


async def _working_key(kept: str, keep: Callable[[str], None], config: Settings) -> None:
    """See to a key that works: yesterday's when the database still knows it, else a new one."""
    database = Database(config, name="up", pool=1)
    try:
        async with database.begin() as session:
            try:
                await keys.authenticate(session, kept)
            except Unauthenticated:
                _, key = await keys.create(session, tenant="default", name="penstock up")
                # Before the commit: a key that was not committed is replaced at the next start,
                # while one that was committed and not kept could never be used.
                keep(key)
    finally:
        await database.close()
