"""The engine of a process and its transactions: the only module that commits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import orjson
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from core.config import Settings


def _dumps(value: object) -> str:
    return orjson.dumps(value).decode()


class Database:
    """One pool of connections; `begin()` and `single()` are the only ways to a statement.

    `limit_s`: how long a transaction may take, for those who would rather be told than wait. The server's
    own statement_timeout does not help with a server that is itself stopped or cut off.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        name: str,
        pool: int | None = None,
        limit_s: float | None = None,
    ) -> None:
        self._limit_s = limit_s
        self.engine: AsyncEngine = create_async_engine(
            settings.async_database_url,
            pool_size=pool or settings.database_pool,
            max_overflow=0,
            pool_timeout=10,
            # A restarted Postgres must cost one failed statement, not one a pooled connection.
            pool_pre_ping=False,
            pool_use_lifo=True,
            # An error's text gets into logs, and parameters hold prompts and signing secrets.
            hide_parameters=True,
            json_serializer=_dumps,
            json_deserializer=orjson.loads,
            connect_args={
                "application_name": f"penstock {name}",
                "connect_timeout": 5,
                "prepare_threshold": 2,
                # A hung server must not hang its callers for ever.
                "options": "-c statement_timeout=15000 -c idle_in_transaction_session_timeout=30000",
                "keepalives_idle": 5,
                "keepalives_interval": 2,
                "keepalives_count": 3,
                "tcp_user_timeout": 10000,
            },
        )
        # The same pool; a connection is switched as it is taken, without a round trip.
        self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    def begin(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A transaction: commits when the block ends, rolls back when it raises.

        Raises TimeoutError past `limit_s`: whether a commit under way was made is then not known.
        """
        return self._opened(self.engine)

    def single(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Each statement is a transaction of its own and commits as it ends.

        For what is one statement, or only reads: one round trip where `begin()` takes three.
        """
        return self._opened(self._autocommit)

    @asynccontextmanager
    async def _opened(self, engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
        limit_s = self._limit_s
        async with (
            # Cancelled once, psycopg asks the server to cancel and waits for its answer, which a hung one
            # never gives; cancelled again, it lets go and the connection is thrown away.
            asyncio.timeout(None if limit_s is None else limit_s + 0.5),
            asyncio.timeout(limit_s),
            AsyncSession(engine, expire_on_commit=False, autoflush=False) as session,
            session.begin(),
        ):
            yield session

    async def close(self) -> None:
        await self.engine.dispose()
