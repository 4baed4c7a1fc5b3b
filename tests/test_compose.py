"""docker-compose.yml starts real commands with real settings; no Docker is needed to see that."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from core.config import Settings
from infra.cli.main import app

FILE = Path(__file__).parents[1] / "docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: s for name, s in SERVICES.items() if s["image"] == "penstock"}
# Read by the Hugging Face libraries, not by us.
FOREIGN = {"HF_HOME"}


def test_every_process_is_there() -> None:
    assert set(OURS) == {
        "migrate",
        "api",
        "control",
        "inference",
        "embedding",
        "finetune",
        "webhooks",
    }
    assert set(SERVICES) - set(OURS) == {"postgres", "redis", "kafka"}


@pytest.mark.parametrize("name", OURS)
def test_each_command_is_one_of_the_cli(name: str) -> None:
    # --help parses what comes before it and runs nothing.
    result = CliRunner().invoke(app, [*OURS[name]["command"], "--help"])
    assert result.exit_code == 0, result.output
    # The same with one word too many is refused: so the words were read as what they are.
    assert CliRunner().invoke(app, [*OURS[name]["command"], "superfluous"]).exit_code == 2


@pytest.mark.parametrize("name", OURS)
def test_each_variable_is_a_setting(name: str) -> None:
    known = {
        str(field.validation_alias or f"PENSTOCK_{field_name.upper()}")
        for field_name, field in Settings.model_fields.items()
    }
    assert set(OURS[name]["environment"]) <= known | FOREIGN


def test_what_a_service_waits_for_exists_and_can_be_waited_for() -> None:
    for service in SERVICES.values():
        for target, how in service.get("depends_on", {}).items():
            match how["condition"]:
                case "service_healthy":
                    assert "test" in SERVICES[target]["healthcheck"]
                case "service_completed_successfully":
                    assert SERVICES[target]["command"] == ["migrate"]
                case other:
                    raise AssertionError(f"{target}: {other}")


def test_volumes_in_use_are_declared() -> None:
    used = {v.split(":")[0] for s in SERVICES.values() for v in s.get("volumes", [])}
    assert used == set(COMPOSE["volumes"])


def test_there_is_no_password_in_the_file() -> None:
    for line in FILE.read_text().splitlines():
        if re.search(r"PASSWORD|requirepass|://\S*@", line):
            assert "${POSTGRES_PASSWORD:?" in line or "${REDIS_PASSWORD:?" in line, line


def test_containers_are_given_longer_than_a_drain_takes() -> None:
    drain_s = Settings.model_fields["drain_s"].default
    for service in OURS.values():
        assert int(service["stop_grace_period"].removesuffix("s")) >= drain_s + 5


def test_the_image_is_built_from_files_that_exist() -> None:
    for service in OURS.values():
        assert (FILE.parent / service["build"]["dockerfile"]).is_file()
