"""A worker of a whole model of the catalog: a parent that runs the worker as its child, and exchanges it when the
alias has moved, one parent at a time (docs/decisions/0017).

    alias moves --look--> fetch and verify --turn--> hand over --> drain, end --> start the new
                             '- broken: the old one stays                            '- fails: the old one again
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import structlog
import uvloop

from core import telemetry
from core.catalog import artifacts, models, standing
from core.catalog.digest import digest_of
from core.catalog.models import WRITES, Served
from core.catalog.standing import PREFIX
from core.catalog.tables import Version
from core.config import Settings
from core.db.session import Database
from core.errors import PenstockError, Refused
from core.jobs import batch, rescue
from core.jobs.kinds import RANKS, queue_name
from core.storage.place import storage_of

log = structlog.get_logger(__name__)

# The child's: whose child it is.
PARENT = "PENSTOCK_ROLLING_PARENT"
_PR_SET_PDEATHSIG = 1
LOOK_S = 2.0
# API processes remember for a second what there is to be asked for; a request may be on its way beyond that.
OFFERED_S = 2.0
# Beyond the drain: for the child to hand back what is left, and to end its engine.
END_S = 30.0
NOT_LOADED = {
    "code": "model_not_loaded",
    "message": "The version that the alias had moved to does not load; the one before answers again. Send it again.",
}
# A large model takes minutes to load.
READY_S = 1800.0


def tied() -> None:
    """In the child: drain and end when the parent is gone."""
    parent = os.environ.get(PARENT)
    if parent is not None:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):
            raise SystemExit(0)


def run(config: Settings) -> None:
    """Serve what PENSTOCK_MODEL=catalog:<tenant>/<alias or version> leads to, until told to stop."""
    telemetry.setup(config, process="inference")
    try:
        code = uvloop.run(Rolling(config).run())
    except PenstockError as error:
        raise SystemExit(f"penstock worker: {error.message}") from error
    raise SystemExit(code)


@dataclass(frozen=True)
class Standing:
    """A version, its files on this host, and the queues that its workers take from."""

    version: Version
    folder: Path

    @property
    def name(self) -> str:
        return self.version.name

    @property
    def queues(self) -> list[str]:
        own = [queue_name(WRITES, priority, self.name) for priority in RANKS]
        return [*own, queue_name(batch.KIND, "batch", self.name)]


class Rolling:
    """Lives on one event loop."""

    def __init__(self, config: Settings) -> None:
        self._tenant, _, self._wanted = config.model.removeprefix(PREFIX).partition("/")
        if not self._wanted:
            raise Refused(f"PENSTOCK_MODEL={config.model}: write {PREFIX}<tenant>/<alias>")
        self._config = config
        self._db = Database(config, name="rolling", pool=2)
        self._storage = storage_of(config)
        self._root = Path(config.model_dir).expanduser().absolute()
        self._child: asyncio.subprocess.Process | None = None
        self._refused: str | None = None

    async def run(self) -> int:
        """Returns the child's exit status."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        now = await self._fetched(await self._find())
        await self._spawn(now)
        turning = asyncio.create_task(self._turn(now))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({turning, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (turning, stopping):
            task.cancel()
        await asyncio.gather(turning, stopping, return_exceptions=True)
        code = await self._ended()
        await self._db.close()
        return code

    async def _turn(self, now: Standing) -> None:
        """Look, and exchange; returns when the child has ended by itself."""
        while self._child is not None and self._child.returncode is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._child.wait()
                    return
            try:
                new = await self._find()
                if new.name in (now.name, self._refused):
                    continue
                now = await self._exchanged(now, new)
            except Exception as error:
                log.warning("the alias was not followed; again soon", error=repr(error))

    async def _find(self) -> Version:
        async with self._db.single() as session:
            return await standing.standing(session, self._tenant, self._wanted)

    async def _fetched(self, version: Version) -> Standing:
        async with self._db.single() as session:
            artifact = await artifacts.get(session, version.digest)
        folder = await artifacts.fetch(self._storage, artifact, self._root)
        return Standing(version, folder)

    async def _exchanged(self, old: Standing, version: Version) -> Standing:
        """What is served afterwards."""
        try:
            new = await self._fetched(version)
        except Refused as error:
            self._refused = version.name
            log.warning("the new version is refused; the old one stays", refused=version.name,
                      serves=old.name, error=error.message)  # fmt: skip
            return old
        async with self._alone():
            # It may have taken a while until it was our turn.
            if (await self._find()).name != version.name:
                return old
            log.info("exchanging", old=old.name, new=new.name)
            await self._hand_over(old, new)
            await self._end()
            await self._spawn(new)
            if await self._ready(new):
                log.info("exchanged", serves=new.name)
                return new
            return await self._back(old, new)

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """One worker of an alias at a time is away. The lock ends with us, however we end."""
        async with await psycopg.AsyncConnection.connect(
            self._config.database_url, autocommit=True, application_name="penstock rolling"
        ) as connection:
            name = f"rolling {self._tenant}/{self._wanted}"
            await connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (name,))
            yield

    async def _hand_over(self, old: Standing, new: Standing) -> None:
        """The last worker of the old one announces the new one before it goes, and first does what waits for the old.

        Where there are others, requests go on to them until the new one has loaded.
        """
        async with self._db.single() as session:
            living = await standing.living(session, old.queues[0])
        if not all(map(self._is_ours, living)):
            return
        digest = await asyncio.to_thread(digest_of, str(new.folder))
        async with self._db.begin() as session:
            known = {model.name: model for model in await models.listed(session)}
            context = new.version.context or (known[old.name].context if old.name in known else 0)
            # Without one it is not to be asked for before its worker says it.
            if new.name not in known and context:
                await models.register(
                    session, Served(new.name, str(new.folder), context, digest=digest)
                )
            await standing.withdraw(session, old.name)
        await asyncio.sleep(OFFERED_S)
        while self._child is not None and self._child.returncode is None:
            async with self._db.single() as session:
                if not await standing.left(session, old.queues):
                    return
            await asyncio.sleep(0.2)

    async def _back(self, old: Standing, new: Standing) -> Standing:
        self._refused = new.name
        log.warning(
            "the new version does not load; the old one again", refused=new.name, serves=old.name
        )
        await self._end()
        async with self._db.begin() as session:
            if not await standing.living(session, new.queues[0]):
                await standing.withdraw(session, new.name)
                lost = await rescue.strand(session, new.queues[: len(RANKS)], NOT_LOADED)
                log.warning("jobs that waited for it are ended", jobs=lost)
        await self._spawn(old)
        await self._ready(old)
        return old

    def _is_ours(self, worker: tuple[str, int]) -> bool:
        return self._child is not None and worker == (socket.gethostname(), self._child.pid)

    async def _spawn(self, what: Standing) -> None:
        env = os.environ | {
            "PENSTOCK_MODEL": str(what.folder),
            "PENSTOCK_MODEL_NAME": what.name,
            PARENT: str(os.getpid()),
        }
        # The same command once more: it finds a folder where we found an alias.
        self._child = await asyncio.create_subprocess_exec(
            sys.executable, *sys.orig_argv[1:], env=env
        )

    async def _ready(self, what: Standing) -> bool:
        """Wait until the child takes jobs; False when it has ended instead."""
        assert self._child is not None, "it was just started"
        async with asyncio.timeout(READY_S):
            while self._child.returncode is None:
                async with self._db.single() as session:
                    if any(map(self._is_ours, await standing.living(session, what.queues[0]))):
                        return True
                await asyncio.sleep(0.1)
        return False

    async def _end(self) -> None:
        """An orderly end: what runs may go on for the drain time, the rest is handed back."""
        if self._child is None or self._child.returncode is not None:
            return
        self._child.terminate()
        try:
            async with asyncio.timeout(self._config.drain_s + END_S):
                await self._child.wait()
        except TimeoutError:
            self._child.kill()
            await self._child.wait()

    async def _ended(self) -> int:
        await self._end()
        return 0 if self._child is None else abs(self._child.returncode or 0)


def follows(config: Settings) -> bool:
    """Whether the model is one of the catalog, and this not the child."""
    return config.model.startswith(PREFIX)
