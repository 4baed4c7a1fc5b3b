"""`penstock finetune plan` as its user sees it: no server is asked."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from infra.cli.main import app

RILL = Path(__file__).parents[2] / "core" / "model" / "rill"


def plan(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["finetune", "plan", *arguments], env={"COLUMNS": "200"})


def test_a_size_is_shown_for_each_number_of_gpus() -> None:
    shown = plan("--size", "7B", "--tuning", "full", "--zero", "3", "--offload", "--gpus", "1,8")
    assert shown.exit_code == 0, shown.output
    assert "7B: 6,738,415,616 parameters, 6,738,415,616 trained" in shown.output
    rows = [line for line in shown.output.splitlines() if line.startswith("│")]
    assert [row.split("│")[1].strip() for row in rows] == ["1", "8"]
    assert all("AAAA" in row and row.rstrip(" │").endswith("yes") for row in rows)
    assert "W weights" in shown.output


def test_what_does_not_fit_says_what_would() -> None:
    shown = plan("--size", "30B", "--gpus", "1")
    assert "no; with activation checkpointing" in shown.output
    assert ">" in shown.output
    shown = plan("--size", "30B", "--tuning", "full", "--memory", "8", "--host", "8", "--gpus", "1")
    assert "no  " in shown.output.splitlines()[4]


def test_a_models_folder_is_planned_too() -> None:
    shown = plan("--model", str(RILL), "--tuning", "lora", "--rank", "8", "--gpus", "1")
    assert "rill: 4,885,760 parameters, 205,824 trained" in shown.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Give one of --size and --model"),
        (("--size", "7B", "--model", str(RILL)), "Give one of --size and --model"),
        (("--size", "7B", "--gpus", "some"), "'some' is no list of numbers"),
        (("--model", "nowhere"), "nowhere/config.json cannot be read"),
        (("--size", "3B"), "'3B' is not one of"),
    ],
)
def test_what_is_wrong_is_named(arguments: tuple[str, ...], said: str) -> None:
    shown = plan(*arguments)
    assert shown.exit_code == 2
    assert said in shown.output
