"""`penstock finetune` as its user sees it: ids, lines, curves on a terminal, a page that stands alone."""

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pytest
from typer.testing import CliRunner, Result

from core.db.session import Database
from core.jobs.job import State
from infra.cli import svg
from infra.cli.main import app
from infra.cli.plot import Curve, chart
from tests.api.openai.training import Hand, by_hand, examples
from tests.rig import Rig
from tests.terminal import on_a_terminal

Cli = Callable[..., Result]
MISSING = "ftjob-" + "0" * 26


@pytest.fixture(autouse=True)
async def _by_hand(db: Database, key: str) -> None:
    await by_hand(db, key)


@pytest.fixture
def env(rig: Rig, key: str) -> dict[str, str]:
    return {"PENSTOCK_URL": rig.base_url, "PENSTOCK_API_KEY": key, "COLUMNS": "200"}


@pytest.fixture
def cli(env: dict[str, str]) -> Cli:
    def run(*arguments: str, **more: str) -> Result:
        return CliRunner().invoke(app, ["finetune", *arguments], env=env | more)

    return run


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "chats.jsonl"
    path.write_bytes(examples())
    return str(path)


def created(cli: Cli, file: str, *more: str) -> str:
    made = cli("create", file, "--model", "rill", *more)
    assert made.exit_code == 0, made.output
    return made.stdout.strip()


async def test_every_option_reaches_the_job(cli: Cli, file: str, client: httpx.AsyncClient) -> None:
    made = cli(
        "create", file, "--model", "rill", "--suffix", "mine", "--validation", file, "--method", "dpo",
        "--full", "--epochs", "2", "--batch-size", "4", "--learning-rate", "0.001", "--hyper", "beta=0.2",
        "--hyper", "schedule=linear", "--hyper", "packing=false", "--seed", "5", "--format", "preference",
        "--deepspeed", "none", "--metadata", "who=me", "--json",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    job = json.loads(made.stdout)
    assert (job["suffix"], job["seed"], job["metadata"]) == ("mine", 5, {"who": "me"})
    hyper = job["method"]["dpo"]["hyperparameters"]
    chosen = {
        "tuning": "full", "n_epochs": 2, "batch_size": 4, "learning_rate": 0.001, "beta": 0.2,
        "schedule": "linear", "packing": False,
    }  # fmt: skip
    assert {name: hyper[name] for name in chosen} == chosen
    sent = (await client.get(f"/v1/files/{job['training_file']}")).json()
    assert (sent["filename"], sent["purpose"]) == ("chats.jsonl", "fine-tune")
    assert job["validation_file"] != job["training_file"]
    again = created(cli, job["training_file"])
    assert json.loads(cli("list", "--json", "--limit", "1").stdout)["id"] == again


async def test_watch_without_a_terminal_is_a_line_an_event(
    cli: Cli, file: str, db: Database
) -> None:
    job = created(cli, file)
    hand = await Hand.take(db, job)
    await hand.train()
    await hand.succeed()
    shown = cli("watch", job.replace("ftjob-", "job_"))
    assert shown.exit_code == 0, shown.output
    said = [line.split("  ", 1)[1] for line in shown.stdout.splitlines()]
    assert said[0] == "Created fine-tuning job"
    assert said[-1].startswith("New fine-tuned model created: ft:rill:")
    steps = [line for line in said if line.startswith("Step ")]
    assert [line.split(":")[0] for line in steps][:3] == ["Step 1/4", "Step 2/4", "Step 2"]
    events = [json.loads(line) for line in cli("watch", job, "--json").stdout.splitlines()]
    assert [event["message"] for event in events] == said
    row = next(line for line in cli("list").stdout.splitlines() if job in line)
    assert "succeeded" in row
    assert "ft:rill:" in row


async def test_a_failed_job_is_exit_code_1_with_its_reason(
    cli: Cli, file: str, db: Database
) -> None:
    job = created(cli, file)
    hand = await Hand.take(db, job)
    await hand.end(State.FAILED, error={"code": "nan_loss", "message": "The loss is not a number."})
    shown = cli("watch", job)
    assert shown.exit_code == 1
    assert "error: The job failed: The loss is not a number." in shown.stdout


async def test_on_a_terminal_the_loss_is_a_curve(
    env: dict[str, str], cli: Cli, file: str, db: Database
) -> None:
    job = created(cli, file)
    hand = await Hand.take(db, job)
    await hand.train(12)
    await hand.succeed()
    code, text = on_a_terminal(env, "finetune", "watch", job)
    assert code == 0
    assert any(0x2800 < ord(c) <= 0x28FF for c in text), "dots of a curve"
    for part in (
        "training loss", "validation loss", "step 12/12", "best validation loss", "ft:rill:"
    ):  # fmt: skip
        assert part in text


async def test_jobs_are_paused_resumed_and_cancelled(cli: Cli, file: str, db: Database) -> None:
    job = created(cli, file)
    assert cli("pause", job).stdout == f"{job} paused\n"
    assert job in next(line for line in cli("list").stdout.splitlines() if "paused" in line)
    assert cli("resume", job).stdout == f"{job} resumed\n"
    hand = await Hand.take(db, job)
    assert cli("pause", job).stdout == f"{job} asked to save and stop\n"
    assert cli("cancel", job).stdout == f"{job} asked to stop\n"
    await hand.end(State.CANCELLED)
    assert cli("cancel", job).stdout == f"{job} cancelled\n"
    late = cli("resume", job)
    assert late.exit_code == 2
    assert "already cancelled" in late.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("create", "no-such-file", "--model", "rill"), 2, "no-such-file: No such file"),
        (("create", "file_" + "0" * 26, "--model", "rill"), 1, "training_file: No file"),
        (("create", "FILE", "--model", "gone"), 2, "model: "),
        (("create", "FILE", "--model", "rill", "--hyper", "x=1"), 2, "hyperparameters.x: "),
        (("create", "FILE", "--model", "rill", "--method", "reinforcement"), 2, "method.type: "),
        (("watch", MISSING), 1, "No fine-tuning job"),
        (("report", MISSING), 1, "No fine-tuning job"),
    ],
)
def test_refused_input_is_one_line_that_names_the_field(
    cli: Cli, file: str, arguments: tuple[str, ...], code: int, said: str
) -> None:
    refused = cli(*(file if one == "FILE" else one for one in arguments))
    assert refused.exit_code == code, refused.output
    assert said in refused.stderr
    assert refused.stderr.startswith("penstock finetune: ")
    assert len(refused.stderr.splitlines()) == 1
    assert refused.stdout == ""


class Reader(HTMLParser):
    """What a page would load or run, and whether its tags match."""

    VOID = ("meta", "br", "line", "circle", "polyline")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in self.VOID or self.open.pop() == tag


async def test_a_report_is_one_page_that_stands_alone(
    cli: Cli, file: str, db: Database, tmp_path: Path
) -> None:
    nasty = 'who=<script>alert("1")</script>'
    job = created(cli, file, "--metadata", nasty)
    hand = await Hand.take(db, job)
    await hand.train(8)
    await hand.succeed()
    out = tmp_path / "page.html"
    made = cli("report", job, "--out", str(out))
    assert (made.exit_code, made.stdout) == (0, f"{out}\n")
    page = out.read_text()
    read = Reader(page)
    assert read.open == []
    assert read.fetched == []
    assert not {"script", "link", "img", "iframe"} & set(read.tags)
    assert read.tags.count("svg") == 5
    for said in (
        job, f"ft:rill:t:mine:{job[-8:]}", "chats.jsonl", "Hyperparameters", "lora_rank", "16", "Checkpoints",
        "rows.kept", "19", "Lineage", "&lt;script&gt;", "best: step 8", "The files are valid",
    ):  # fmt: skip
        assert said in page, said
    drawings = page.split("<svg ")[1:]
    for one in drawings:
        ElementTree.fromstring("<svg " + one.split("</svg>")[0] + "</svg>")
    assert cli("report", job, "--out", str(tmp_path / "no" / "where")).exit_code == 1


async def test_a_report_of_a_job_that_failed_says_why(
    cli: Cli, file: str, db: Database, tmp_path: Path
) -> None:
    job = created(cli, file)
    hand = await Hand.take(db, job)
    await hand.tell("problem", {"file": "chats.jsonl", "line": 7, "message": "is not JSON"})
    why = {"code": "invalid_training_file", "message": "line 7 <b>", "param": "training_file"}
    await hand.end(State.FAILED, error=why)
    out = tmp_path / "page.html"
    assert cli("report", job, "--out", str(out)).exit_code == 0
    page = out.read_text()
    assert "invalid_training_file" in page
    assert "line 7 &lt;b&gt;" in page
    assert "chats.jsonl line 7: is not JSON" in page
    assert "<svg" not in page, "a curve without a point is no curve"


def test_a_chart_is_as_large_as_it_was_asked_to_be() -> None:
    rises = Curve("up", [(n, float(n)) for n in range(1, 11)], "cyan")
    lines = chart([rises], 40, 8).plain.splitlines()
    assert len(lines) == 8
    assert max(map(len, lines)) <= 40
    assert lines[0][-1] != chr(0x2800), "its end is in the corner"
    assert lines[0].split()[0] == "10"
    assert lines[5].split()[0] == "1"
    assert "step 10" in lines[6]
    assert not chart([Curve("none", [(1, float("nan"))], "cyan")], 40, 8)


def test_a_curve_of_one_point_and_one_that_never_moves_are_drawn() -> None:
    for points in ([(1.0, 2.0)], [(1.0, 0.0), (2.0, 0.0)]):
        drawn = chart([Curve("flat", points, "cyan")], 40, 8).plain
        assert any(0x2800 < ord(c) <= 0x28FF for c in drawn)
        assert "<polyline" in svg.figure("Flat", [Curve("flat", points, "one")])


def test_values_far_apart_are_drawn_by_their_logarithm() -> None:
    falls = Curve("down", [(n, 100.0 / 10**n) for n in range(5)], "one")
    assert "log scale" in chart([falls], 60, 10).plain
    assert "logarithmic" in svg.figure("Down", [falls])


def test_a_long_curve_keeps_its_spikes() -> None:
    points = [(float(n), 1.0) for n in range(20_000)]
    points[7777] = (7777.0, 9.0)
    kept = svg.thinned(points)
    assert len(kept) <= svg.MOST
    assert (7777.0, 9.0) in kept
    assert kept == sorted(kept)
