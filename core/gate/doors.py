"""Doors: where the gate stands, by stage and by what an alias is called."""

from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

PRODUCTION = "production"
Glob = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._*?\[\]!-]+$")]


class Doors(BaseModel):
    """`production` is always one. `aliases`: patterns with * and ?, whatever the case of the letters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stages: tuple[Literal["production"], ...] = Field(("production",), min_length=1, max_length=1)
    aliases: tuple[Glob, ...] = Field(
        ("prod", "production", "prod[-._]*", "production[-._]*"), min_length=1, max_length=32
    )

    def gates(self, alias: str) -> bool:
        """Whether an alias of this name is a door."""
        return any(fnmatchcase(alias.lower(), pattern.lower()) for pattern in self.aliases)


def alias(name: str) -> str:
    """What an alias is called as a door, in rows and messages."""
    return f"alias:{name}"
