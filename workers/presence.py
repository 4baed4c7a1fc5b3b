"""A worker's presence: its row, and the advisory lock that Postgres frees the moment the process dies."""

import asyncio
import os
import socket

import psycopg
import structlog

from core.config import Settings

log = structlog.get_logger(__name__)

_ROW = """INSERT INTO workers (id, role, queues, slots, host, pid) VALUES (%s, %s, %s, %s, %s, %s)
          ON CONFLICT (id) DO UPDATE SET last_seen = now()"""


class Presence:
    """Keeps the lock and the row from `hold` on; `leave` says goodbye."""

    def __init__(
        self, settings: Settings, worker_id: str, role: str, queues: list[str], slots: int
    ):
        self._url = settings.database_url
        self._row = (worker_id, role, queues, slots, socket.gethostname(), os.getpid())
        self._id = worker_id
        self.draining = False

    async def hold(self, held: asyncio.Event) -> None:
        """Run for ever: (re)connect, take the lock, be seen each second. Sets `held` once it is ours."""
        async with await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, application_name=f"penstock {self._id}", connect_timeout=5
        ) as connection:
            # A lock of our own that a broken connection still holds is freed when Postgres notices.
            await connection.execute(
                "SELECT pg_advisory_lock(hashtextextended(%s, 0))", (self._id,)
            )
            await connection.execute(_ROW, self._row)
            held.set()
            while True:
                await connection.execute(
                    "UPDATE workers SET last_seen = now(), draining = %s WHERE id = %s",
                    (self.draining, self._id),
                )
                await asyncio.sleep(1.0)

    async def leave(self) -> None:
        """Take the row away at the end of an orderly stop."""
        try:
            async with await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, connect_timeout=2
            ) as connection:
                await connection.execute("DELETE FROM workers WHERE id = %s", (self._id,))
        except (psycopg.Error, OSError) as error:
            log.debug("left without a goodbye", error=repr(error))
