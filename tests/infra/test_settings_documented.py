""".env.example names every setting there is, with the default it has."""

import re
from pathlib import Path

import pytest

from core.config import Settings

EXAMPLE = Path(__file__).parents[2] / ".env.example"
COMPOSE_ONLY = {"POSTGRES_PASSWORD", "REDIS_PASSWORD"}


def documented() -> dict[str, str]:
    found = re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE)
    assert len(found) == len(dict(found)), "a setting is documented twice"
    return dict(found)


def environment_names() -> dict[str, str]:
    """The variable of each field."""
    return {
        name: str(field.validation_alias or f"PENSTOCK_{name.upper()}")
        for name, field in Settings.model_fields.items()
    }


def test_every_setting_is_in_the_example_and_nothing_else() -> None:
    assert set(documented()) - COMPOSE_ONLY == set(environment_names().values())


def test_the_example_shows_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment_names().values():
        monkeypatch.delenv(name, raising=False)
    defaults = Settings(_env_file=None).model_dump(exclude={"model"})
    for name, value in documented().items():
        monkeypatch.setenv(name, value)
    assert Settings(_env_file=None).model_dump(exclude={"model"}) == defaults
