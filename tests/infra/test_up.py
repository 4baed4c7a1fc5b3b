"""`penstock up` as its user sees it: it comes up, restarts what dies, stops, finds its data again."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from core.config import MODEL_FOLDER
from infra.folder import free_port, locked, open_folder
from tests.waiting import until

pytestmark = pytest.mark.fault
ROOT = Path(__file__).parents[2]

Up = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    started: list[subprocess.Popen[str]] = []
    # None of the suite's own settings: the stack must be the embedded one.
    names = ("DATABASE_URL", "REDIS_URL", "KAFKA_BOOTSTRAP_SERVERS")
    env = {k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_") and k not in names}
    env |= {
        "PENSTOCK_MODEL": os.environ.get("PENSTOCK_MODEL", str(MODEL_FOLDER)),
        "PENSTOCK_ENGINE": "tests.fakes.engine:ScriptedEngine",
        "PENSTOCK_SCRIPTED_DIR": str(tmp_path),
        "PENSTOCK_EMBEDDING_MODEL": "",
    }

    def up(*options: str, **settings: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "infra.cli.main", "up", "--data-dir", str(tmp_path)]
        out = (tmp_path / f"out{len(started)}").open("w")
        process = subprocess.Popen(
            [*command, *options],
            cwd=ROOT,
            env=env | settings,
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
        )
        out.close()
        started.append(process)
        return process

    yield up
    for process in started:
        process.kill()
        process.wait()


def said(folder: Path, run: int = 0) -> str:
    return (folder / f"out{run}").read_text()


def ready(folder: Path) -> dict[str, Any]:
    path = folder / "ready.json"
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return content


def come_up(
    up: Up, folder: Path, run: int, *options: str, **settings: str
) -> "subprocess.Popen[str]":
    process = up(*options, **settings)
    until(lambda: ready(folder) or process.poll() is not None, "ready.json", timeout_s=120)
    assert process.poll() is None, said(folder, run)
    return process


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_it_runs_a_job_stops_cleanly_and_finds_its_data_again(up: Up, tmp_path: Path) -> None:
    port = str(free_port())
    first = come_up(up, tmp_path, 0, "--port", port, "--demo")
    state = ready(tmp_path)
    assert state["base_url"] == f"http://127.0.0.1:{port}"
    # What no start waits for (infra.children.LATER) may be up already when this reads.
    assert set(state["pids"]) - {"finetune"} == {
        "api", "control", "inference", "webhooks", "postgres", "redis", "kafka",
    }  # fmt: skip
    until(lambda: ready(tmp_path)["states"].get("finetune") == "ready", "the trainer", timeout_s=90)
    until(lambda: "Try next" in said(tmp_path), "the demo", timeout_s=60)
    assert "job.succeeded" in said(tmp_path)
    for name in set(state["metrics"]) & set(state["pids"]):
        assert httpx.get(state["metrics"][name], trust_env=False).status_code == 200, name
    everyone = [p.pid for p in psutil.Process(first.pid).children(recursive=True)]
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=90) == 0
    assert all(gone(pid) for pid in everyone)
    assert not ready(tmp_path)

    second = come_up(up, tmp_path, 1, "--port", port)
    again = ready(tmp_path)
    assert again["api_key"] == state["api_key"]
    jobs = httpx.get(
        f"{again['base_url']}/v1/jobs",
        headers={"Authorization": f"Bearer {again['api_key']}"},
        trust_env=False,
    )
    assert [job["state"] for job in jobs.json()["data"]] == ["succeeded"]
    second.send_signal(signal.SIGTERM)
    assert second.wait(timeout=90) == 0


def test_every_process_that_is_killed_comes_back(up: Up, tmp_path: Path) -> None:
    come_up(up, tmp_path, 0, "--port", str(free_port()))
    before = ready(tmp_path)["pids"]
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)

    def all_new() -> bool:
        state = ready(tmp_path)
        return set(state["states"].values()) == {"ready"} and not (
            set(before.values()) & set(state["pids"].values())
        )

    until(all_new, "every process to be another one, and ready", timeout_s=120)


def test_the_shipped_embedding_model_follows_once_everything_else_is_ready(
    up: Up, tmp_path: Path
) -> None:
    come_up(up, tmp_path, 0, "--port", str(free_port()), PENSTOCK_EMBEDDING_MODEL="auto")
    state = ready(tmp_path)
    until(lambda: ready(tmp_path)["states"].get("embedding") == "ready", "it", timeout_s=120)
    made = httpx.post(
        f"{state['base_url']}/v1/embeddings",
        headers={"Authorization": f"Bearer {state['api_key']}"},
        json={"model": "all-MiniLM-L6-v2", "input": "The river"},
        trust_env=False,
        timeout=30,
    )
    assert len(made.json()["data"][0]["embedding"]) == 384, made.text


def test_a_folder_in_use_is_refused_before_anything_is_touched(up: Up, tmp_path: Path) -> None:
    with locked(open_folder(tmp_path)):
        assert up().wait(timeout=60) == 1
    assert f"in use by process {os.getpid()}" in said(tmp_path)
    assert not (tmp_path / "redis.conf").exists()


def test_a_taken_port_is_refused_with_the_way_out(up: Up, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert up("--port", str(taken.getsockname()[1])).wait(timeout=60) == 1
    assert "choose one with --port" in said(tmp_path)
