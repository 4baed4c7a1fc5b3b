"""Commands that work straight in the database, without an API: a transaction, and its errors as one line."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import typer
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from core.config import settings
from core.db.session import Database
from core.errors import PenstockError

Answer = TypeVar("Answer")


def in_database(command: str, work: Callable[[AsyncSession], Awaitable[Answer]]) -> Answer:
    """What `work` answers, in one transaction; what it refuses ends the command with 1."""

    async def run(database: Database) -> Answer:
        async with database.begin() as session:
            return await work(session)

    return on_database(command, run)


def on_database(command: str, work: Callable[[Database], Awaitable[Answer]]) -> Answer:
    """What `work` answers, whose transactions are its own; what it refuses ends the command with 1."""

    async def run() -> Answer:
        database = Database(settings(), name="cli", pool=1)
        try:
            return await work(database)
        finally:
            await database.close()

    try:
        return asyncio.run(run())
    except PenstockError as error:
        message = error.message
    except OperationalError as error:
        # The driver's words name host and port, never the password.
        message = (
            f"{error.orig}\nSet DATABASE_URL; under penstock up it is in ready.json, urls.postgres"
        )
    typer.echo(f"penstock {command}: {message}", err=True)
    raise typer.Exit(1)
