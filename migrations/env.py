"""Alembic's entry point: connects to DATABASE_URL and runs the versions in one transaction."""

from alembic import context
from sqlalchemy import create_engine, text

from core.config import settings
from core.db.base import Base
from migrations.vectors import PREPARE

# Two processes that start together must not migrate together.
LOCK = 0x70656E73


def run() -> None:
    url = settings().async_database_url
    engine = create_engine(url)
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=Base.metadata)
        with context.begin_transaction():
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
            context.run_migrations()
            connection.execute(text(PREPARE))
    engine.dispose()


run()
