"""`penstock jobs` as its user sees it: output, exit codes, Ctrl-C, and connections that break."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from core.db.session import Database
from core.ids import new_id
from infra.cli import remote
from infra.cli.main import app
from tests import asking
from tests.asking import LONG
from tests.rig import Rig
from tests.terminal import on_a_terminal
from tests.waiting import until

Cli = Callable[..., Result]
JOB = "job_" + "0" * 26


@pytest.fixture
def env(rig: Rig, key: str) -> dict[str, str]:
    return {"PENSTOCK_URL": rig.base_url, "PENSTOCK_API_KEY": key, "COLUMNS": "200"}


@pytest.fixture
def cli(env: dict[str, str]) -> Cli:
    def run(*arguments: str, **more: str) -> Result:
        return CliRunner().invoke(app, ["jobs", *arguments], env=env | more)

    return run


async def test_submit_prints_the_id_and_get_shows_the_end(
    cli: Cli, client: httpx.AsyncClient
) -> None:
    submitted = cli("submit", "--prompt", "The river", "--max-tokens", "5")
    assert submitted.exit_code == 0, submitted.output
    job_id = submitted.stdout.strip()
    job = await asking.ended(client, job_id)
    shown = cli("get", job_id)
    assert shown.exit_code == 0
    for part in (job_id, "succeeded", "usage.completion_tokens", job["result"]["text"].strip()):
        assert part in shown.stdout
    assert json.loads(cli("get", job_id, "--json").stdout) == job


async def test_a_job_that_waits_shows_what_for(
    cli: Cli, client: httpx.AsyncClient, db: Database
) -> None:
    """On a queue that nobody serves; by get and by list."""
    done = await asking.run(client)
    job_id = new_id("job")
    async with db.begin() as session:
        await session.execute(
            text(
                """INSERT INTO jobs (id, tenant_id, kind, model, priority, rank, queue, spec, metadata)
                   SELECT :new, tenant_id, kind, model, priority, rank, :queue, spec, metadata
                   FROM jobs WHERE id = :id"""
            ),
            {"new": job_id, "queue": new_id("nobody"), "id": done["id"]},
        )
    shown = cli("get", job_id).stdout
    for name, value in (("queue_position", "1"), ("waiting_for", "worker")):
        assert [name, value] in [line.split() for line in shown.splitlines()]
    assert "No worker that lives serves" in shown
    row = next(line for line in cli("list").stdout.splitlines() if job_id in line)
    assert "worker 1" in row
    assert cli("cancel", job_id).exit_code == 0


async def test_every_option_reaches_the_job(cli: Cli, client: httpx.AsyncClient) -> None:
    made = cli(
        "submit", "--prompt", "x", "--model", "7B", "--max-tokens", "3", "--temperature", "0",
        "--top-k", "5", "--top-p", "0.5", "--seed", "7", "--stop", "a", "--stop", "b",
        "--priority", "batch", "--completion-window", "1h", "--metadata", "who=me=you",
        "--max-tokens-total", "5", "--max-cost", "0.5",
        "--idempotency-key", "mine", "--json",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    job = json.loads(made.stdout)
    assert (job["priority"], job["metadata"]) == ("batch", {"who": "me=you"})
    again = cli(
        "submit", "--prompt", "x", "--idempotency-key", "mine",
    )  # fmt: skip
    assert again.exit_code == 2, "another body under the same key"
    assert "Idempotency-Key" in again.stderr
    ended = await asking.ended(client, job["id"])
    assert ended["state"] == "succeeded"
    assert ended["usage"]["total_tokens"] <= 5


def test_watch_streams_the_text_and_ends_with_a_line_of_figures(cli: Cli) -> None:
    shown = cli("submit", "--prompt", "The river", "--max-tokens", "50", "--watch")
    assert shown.exit_code == 0, shown.output
    assert len(shown.stdout.split()) > 10
    for part in ("job_", "succeeded", "attempt 1", "50 tokens", "tok/s"):
        assert part in shown.stderr
    job_id = shown.stderr.split()[0]
    assert json.loads(cli("get", job_id, "--json").stdout)["result"]["text"] == shown.stdout[:-1]
    # The same again, long after: the text comes from the record.
    assert cli("watch", job_id).stdout == shown.stdout


def test_watch_as_json_is_one_event_a_line(cli: Cli) -> None:
    shown = cli("submit", "--prompt", "The river", "--max-tokens", "20", "--watch", "--json")
    events = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "job.succeeded"
    assert shown.stderr == ""


def test_a_failed_job_is_exit_code_1_with_its_reason(cli: Cli) -> None:
    shown = cli("submit", "--prompt", "[error]", "--max-tokens", "30", "--watch")
    assert shown.exit_code == 1
    assert "failed" in shown.stderr
    assert "attempt 2" in shown.stderr
    assert "The worker failed on this job twice." in shown.stderr


def test_an_expired_job_is_exit_code_1(cli: Cli) -> None:
    shown = cli(
        "submit", "--prompt", "x", "--max-tokens", str(LONG), "--completion-window", "1s", "--watch"
    )
    assert shown.exit_code == 1
    assert "expired" in shown.stderr


async def test_cancel_stops_a_job(cli: Cli, client: httpx.AsyncClient) -> None:
    job = await asking.submit(client, max_tokens=LONG)
    assert cli("cancel", job["id"]).exit_code == 0
    assert (await asking.ended(client, job["id"]))["state"] == "cancelled"
    assert cli("cancel", job["id"]).stdout == f"{job['id']} cancelled\n"
    assert cli("watch", job["id"]).exit_code == 1
    done = await asking.run(client)
    refused = cli("cancel", done["id"])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "already succeeded" in refused.stderr


async def test_list_filters_and_goes_on_over_pages(cli: Cli, client: httpx.AsyncClient) -> None:
    jobs = [(await asking.run(client))["id"] for _ in range(3)]
    shown = cli("list")
    assert shown.exit_code == 0
    assert all(job in shown.stdout for job in jobs)
    listed = [
        json.loads(x)["id"] for x in cli("list", "--json", "--limit", "2").stdout.splitlines()
    ]
    assert listed == jobs[:0:-1]
    assert cli("list", "--state", "failed", "--json").stdout == ""
    wrong = cli("list", "--state", "done")
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith("penstock jobs: state: ")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("submit", "--prompt", "x", "--max-tokens", "0"), "max_tokens: "),
        (("submit", "--prompt", "x", "--model", "none"), "model: "),
        (("submit", "--prompt", "x", "--message", "y"), "exactly one of prompt and messages"),
        (("submit",), "exactly one of prompt and messages"),
        (("get", "job_x"), "job_id: "),
        (("watch", "job_x"), "job_id: "),
    ],
)
def test_refused_input_is_one_line_that_names_the_field(
    cli: Cli, arguments: tuple[str, ...], field: str
) -> None:
    refused = cli(*arguments)
    assert refused.exit_code == 2
    assert field in refused.stderr
    assert refused.stderr.startswith("penstock jobs: ")
    assert len(refused.stderr.splitlines()) == 1
    assert refused.stdout == ""


def test_what_is_not_there_or_not_ours_is_exit_code_1(cli: Cli) -> None:
    missing = cli("get", JOB)
    assert missing.exit_code == 1
    assert "No job" in missing.stderr
    stranger = cli("get", JOB, PENSTOCK_API_KEY="sk-penstock-no")
    assert stranger.exit_code == 1
    assert "API key" in stranger.stderr
    usage = cli("submit", "--prompt", "x", "--metadata", "novalue")
    assert usage.exit_code == 2


def test_messages_have_roles(cli: Cli) -> None:
    refused = cli(
        "submit", "--message", "user:", "--message", "system:be brief", "--max-tokens", "0"
    )
    assert refused.exit_code == 2
    assert "max_tokens" in refused.stderr


def test_address_and_key_come_from_penstock_up(
    rig: Rig, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bare = {"PENSTOCK_URL": "", "PENSTOCK_API_KEY": ""}
    run = CliRunner()
    nothing = run.invoke(app, ["jobs", "list"], env=bare)
    assert nothing.exit_code == 2
    assert "penstock up" in nothing.stderr
    Path(".penstock").mkdir()
    ready = Path(".penstock/ready.json")
    ready.write_text("not json")
    assert run.invoke(app, ["jobs", "list"], env=bare).exit_code == 2
    ready.write_text(json.dumps({"base_url": rig.base_url, "api_key": key}))
    assert run.invoke(app, ["jobs", "list"], env=bare).exit_code == 0
    keyless = run.invoke(app, ["jobs", "list", "--url", rig.base_url], env=bare)
    assert keyless.exit_code == 0, "the key of ready.json goes with the url that was given"
    assert run.invoke(app, ["jobs", "list", "--url", "ftp://x"], env=bare).exit_code == 2


def test_an_api_that_is_away_is_said_in_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSE_S", 0.0)
    away = cli("list", "--url", "http://127.0.0.1:9")
    assert away.exit_code == 1
    assert away.stderr.startswith("penstock jobs: no answer from http://127.0.0.1:9")
    assert len(away.stderr.splitlines()) == 1


def _interrupted(job_id: str, env: dict[str, str], out: Path) -> tuple[int, str]:
    """Watch a job, press Ctrl-C at its first words; returns the exit code and what stderr says."""
    # A shell that runs the tests in the background has them ignore Ctrl-C, and what they start, too.
    heeding = ["env", "--default-signal=INT"]
    command = [*heeding, sys.executable, "-m", "infra.cli.main", "jobs", "watch", job_id]
    with (
        out.open("wb") as file,
        subprocess.Popen(
            command, stdout=file, stderr=subprocess.PIPE, env=os.environ | env
        ) as watching,
    ):
        until(lambda: out.stat().st_size > 0, "the first words")
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=30)
    return watching.returncode, said.decode().strip()


async def test_ctrl_c_stops_the_watching_and_not_the_job(
    env: dict[str, str], client: httpx.AsyncClient, tmp_path: Path
) -> None:
    job = await asking.submit(client, prompt="The river [hang]", max_tokens=LONG)
    try:
        code, said = _interrupted(job["id"], env, tmp_path / "out")
        assert (code, said) == (130, "stopped watching; the job goes on")
        assert (await asking.get(client, job["id"]))["state"] in ("running", "queued")
    finally:
        # An engine that hangs for long costs this worker its life.
        await client.post(f"/v1/jobs/{job['id']}/cancel")
    assert (await asking.ended(client, job["id"]))["state"] == "cancelled"


def test_on_a_terminal_the_text_stands_above_a_progress_line(env: dict[str, str]) -> None:
    arguments = ["submit", "--prompt", "The river", "--max-tokens", "300", "--watch"]
    code, text = on_a_terminal(env, "jobs", *arguments)
    assert code == 0
    assert "running · attempt 1" in text, "while it ran"
    assert "succeeded · attempt 1 · 300 tokens" in text
    assert "tok/s" in text


EVENTS: list[dict[str, Any]] = [
    {"seq": 1, "type": "job.queued", "attempt": 0, "data": {}},
    {"seq": 2, "type": "job.started", "attempt": 1, "data": {}},
    {"seq": 3, "type": "output.delta", "attempt": 1, "data": {"text": "one ", "tokens": 2}},
    {"seq": 4, "type": "job.requeued", "attempt": 1, "data": {}},
    {"seq": 5, "type": "job.started", "attempt": 2, "data": {}},
    {"seq": 7, "type": "snapshot", "attempt": 2, "data": {"text": "one two "}},
    {"seq": 8, "type": "output.delta", "attempt": 2, "data": {"text": "three"}},
    {"seq": 9, "type": "job.succeeded", "attempt": 2, "data": {"usage": {"completion_tokens": 9}}},
]


class Shaky(BaseHTTPRequestHandler):
    """Sends one event a connection, and every other time is not there at all."""

    protocol_version = "HTTP/1.0"
    asked: list[str | None]
    times: int

    def do_GET(self) -> None:
        cls = type(self)
        cls.times += 1
        if cls.times % 2 == 0:
            self.send_response(503)
            self.end_headers()
            return
        cursor = self.headers["Last-Event-ID"]
        cls.asked.append(cursor)
        event = next(e for e in EVENTS if e["seq"] > int(cursor or 0))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", "100000")  # so that the end is a broken connection
        self.end_headers()
        body = json.dumps(event)
        self.wfile.write(f"retry: 1000\n\nid: {event['seq']}\ndata: {body}\n\n: hm\n\n".encode())

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def shaky() -> Iterator[str]:
    Shaky.asked, Shaky.times = [], 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Shaky) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_watch_resumes_after_every_broken_connection(
    shaky: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.cli.watch.PAUSE_S", 0.0)
    arguments = ["jobs", "watch", JOB, "--url", shaky, "--api-key", "k"]
    shown = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    # Nothing twice and nothing missing: a snapshot adds only what was not shown yet.
    assert shown.stdout == "one two three\n"
    assert "attempt 2 · 9 tokens" in shown.stderr
    assert Shaky.asked == [None, "1", "2", "3", "4", "5", "7", "8"]
