"""What the commands that go straight to the database share: one transaction, and one line for what goes wrong."""

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
    """`work` in a transaction. What it raises becomes a line after `command`, and exit code 1."""

    async def run() -> Answer:
        database = Database(settings(), name="cli", pool=1)
        try:
            async with database.begin() as session:
                return await work(session)
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
    typer.echo(f"{command}: {message}", err=True)
    raise typer.Exit(1)
