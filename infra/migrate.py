"""Brings the database to the newest version of the tables."""

from pathlib import Path

from alembic import command
from alembic.config import Config

import migrations


def migrate() -> None:
    """Upgrade what DATABASE_URL names; several may do so at once, one after the other."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__ or "").parent))
    command.upgrade(config, "head")
