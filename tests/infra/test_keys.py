"""Keys and tenants from the command line and at the first start, on a real Postgres."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.config import settings
from infra.cli.main import app
from infra.folder import free_port
from infra.local import embedded
from infra.up import prepare


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    stack = embedded(tmp_path_factory.mktemp("keys"), names=["postgres"])
    stack.start()
    yield stack.urls["postgres"]
    stack.end()


@pytest.fixture(autouse=True)
def configured(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DATABASE_URL", database)
    settings.cache_clear()
    assert CliRunner().invoke(app, ["migrate"]).exit_code == 0
    yield
    settings.cache_clear()


def keys(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["keys", *arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_a_key_is_made_listed_without_its_secret_and_revoked_once() -> None:
    code, key = keys("create", "--tenant", "acme", "--name", "ci")
    assert code == 0
    assert key.startswith("sk-penstock-")
    name = f"key_{key.removeprefix('sk-penstock-').split('-')[0]}"
    _, table = keys("list")
    assert name in table
    assert "acme" in table
    assert key.strip().rsplit("-", 1)[1] not in table
    assert keys("revoke", name) == (0, f"{name} is revoked\n")
    code, complaint = keys("revoke", name)
    assert code == 1
    assert f"No active key {name}. List them: penstock keys list" in complaint


def cells(*arguments: str, row: str) -> list[str]:
    """The cells of the row of a table that has `row` in one of them."""
    result = CliRunner().invoke(app, [*arguments], env={"COLUMNS": "200"})
    (line,) = [line for line in result.output.splitlines() if f" {row} " in line]
    return [cell.strip() for cell in line.strip("│┃").split("│")]


def test_keys_and_tenants_are_limited_and_the_tables_say_so() -> None:
    code, key = keys(
        "create", "--tenant", "mill", "--requests-per-minute", "60", "--tokens-per-minute", "0"
    )
    assert code == 0
    name = f"key_{key.removeprefix('sk-penstock-').split('-')[0]}"
    assert cells("keys", "list", row=name)[-2:] == ["60", "no limit"]
    assert keys("limit", name, "--tokens-per-minute", "9000") == (0, f"{name} is limited\n")
    assert cells("keys", "list", row=name)[-2:] == ["60", "9000"]
    keys("limit", name, "--requests-per-minute", "default")
    assert cells("keys", "list", row=name)[-2:] == ["", "9000"]
    assert cells("tenants", "list", row="mill")[-3:-1] == ["", ""]
    limited = CliRunner().invoke(app, ["tenants", "limit", "mill", "--requests-per-minute", "7"])
    assert (limited.exit_code, limited.output) == (0, "mill is limited\n")
    assert cells("tenants", "list", row="mill")[-3:-1] == ["7", ""]


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["keys", "limit", "key_x"], 2, "give --requests-per-minute"),
        (["tenants", "limit", "nobody"], 2, "give --requests-per-minute"),
        (["keys", "limit", "key_x", "--requests-per-minute", "-1"], 2, "neither a number nor default"),
        (["keys", "create", "--tokens-per-minute", "many"], 2, "neither a number nor default"),
        (["keys", "limit", "key_x", "--requests-per-minute", "1"], 1, "No active key key_x"),
        (["keys", "create", "--requests-per-minute", "9999999999"], 1, "must be 0 (no limit) to"),
        (["tenants", "limit", "nobody", "--tokens-per-minute", "1"], 1, "penstock tenants: No tenant nobody"),
    ],
)  # fmt: skip
def test_a_limit_that_cannot_be_set_is_explained(
    arguments: list[str], code: int, complaint: str
) -> None:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == code
    assert complaint in result.output


def test_a_database_that_is_away_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://u:hidden@127.0.0.1:{free_port()}/penstock")
    settings.cache_clear()
    code, complaint = keys("list")
    assert code == 1
    assert "Set DATABASE_URL" in complaint
    assert "hidden" not in complaint


def test_the_first_start_makes_a_key_and_later_ones_keep_it_while_it_works(tmp_path: Path) -> None:
    kept = tmp_path / "api_key"
    prepare(tmp_path, settings())
    first = kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0
    prepare(tmp_path, settings())
    assert kept.read_text() == first
    # The folder is older than the database: as after DATABASE_URL was changed.
    kept.write_text("sk-penstock-of-another-database")
    prepare(tmp_path, settings())
    assert kept.read_text() not in (first, "sk-penstock-of-another-database")


def tenants(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["tenants", *arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_a_tenant_gets_its_weight_and_a_wrong_one_is_named() -> None:
    keys("create", "--tenant", "heavy")
    assert tenants("weight", "heavy", "3") == (0, "heavy has weight 3\n")
    code, complaint = tenants("weight", "heavy", "0")
    assert (code, "weight must be between 0.01 and 1000, not 0" in complaint) == (1, True)
    code, complaint = tenants("weight", "nobody", "2")
    assert code == 1
    assert "No tenant 'nobody'. List them: penstock tenants list" in complaint
    assert tenants("weight", "heavy", "much")[0] == 2
    assert "3" in next(line for line in tenants("list")[1].splitlines() if "heavy" in line).split()
