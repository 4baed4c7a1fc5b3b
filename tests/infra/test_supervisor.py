"""The supervisor restarts what died, keeps ready.json true, leaves no process however it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.waiting import until

pytestmark = pytest.mark.fault
ROOT = Path(__file__).parents[2]

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start(*children: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "tests.fakes.supervised", str(tmp_path), *children]
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ready(folder: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads((folder / "ready.json").read_text())
    except FileNotFoundError:
        return {}
    return content


def all_ready(folder: Path) -> bool:
    return set(ready(folder).get("states", {}).values()) == {"ready"}


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_killed_child_is_restarted_and_ready_json_tells_its_new_pid(
    start: Start, tmp_path: Path
) -> None:
    start("one=waits", "two=waits")
    until(lambda: all_ready(tmp_path), "ready.json")
    before = ready(tmp_path)["pids"]
    os.kill(before["two"], signal.SIGKILL)
    until(lambda: ready(tmp_path)["pids"].get("two") != before["two"], "the old pid to go")
    until(lambda: all_ready(tmp_path), "all to be ready again")
    after = ready(tmp_path)["pids"]
    assert after["one"] == before["one"]
    assert not gone(after["two"])
    assert (tmp_path / "ready.json").stat().st_mode & 0o077 == 0


def test_a_child_that_cannot_be_started_again_is_tried_until_it_can(
    start: Start, tmp_path: Path
) -> None:
    start("one=waits", "two=waits")
    until(lambda: all_ready(tmp_path), "ready.json")
    (tmp_path / "one.broken").touch()
    os.kill(ready(tmp_path)["pids"]["one"], signal.SIGKILL)
    until(lambda: ready(tmp_path)["states"]["one"] == "down", "one to be down")
    assert "one" not in ready(tmp_path)["pids"]
    assert ready(tmp_path)["states"]["two"] == "ready"
    (tmp_path / "one.broken").unlink()
    until(lambda: all_ready(tmp_path), "one to be back")


def test_what_a_killed_child_started_does_not_outlive_it(start: Start, tmp_path: Path) -> None:
    start("one=family")
    until(lambda: all_ready(tmp_path), "ready.json")
    grandchild = int((tmp_path / "one.family").read_text())
    os.kill(ready(tmp_path)["pids"]["one"], signal.SIGKILL)
    until(lambda: gone(grandchild), "the grandchild to be gone")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_leaves_no_process_and_no_ready_json(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    supervisor = start("one=family", "two=stubborn", "three=waits")
    until(lambda: all_ready(tmp_path), "ready.json")
    pids = [*ready(tmp_path)["pids"].values(), int((tmp_path / "one.family").read_text())]
    supervisor.send_signal(number)
    assert supervisor.wait(timeout=60) == 0
    assert all(gone(pid) for pid in pids)
    assert not (tmp_path / "ready.json").exists()


def test_a_stop_while_parts_are_still_starting_leaves_no_process(
    start: Start, tmp_path: Path
) -> None:
    supervisor = start("one=waits", "two=waits")
    until((tmp_path / "one.sign").exists, "the first child")
    family = psutil.Process(supervisor.pid).children(recursive=True)
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(timeout=60) == 0
    assert all(gone(p.pid) for p in family)


def test_the_second_stop_kills_what_the_first_only_asked(start: Start, tmp_path: Path) -> None:
    supervisor = start("one=deaf")
    until(lambda: all_ready(tmp_path), "ready.json")
    pid = ready(tmp_path)["pids"]["one"]
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.stderr is not None
    assert any("stopping one" in line for line in iter(supervisor.stderr.readline, ""))
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait(timeout=60) == 0
    assert gone(pid)


def test_a_killed_supervisor_takes_its_children_along(start: Start, tmp_path: Path) -> None:
    supervisor = start("one=waits", "two=stubborn")
    until(lambda: all_ready(tmp_path), "ready.json")
    pids = list(ready(tmp_path)["pids"].values())
    supervisor.send_signal(signal.SIGKILL)
    until(lambda: all(gone(pid) for pid in pids), "the children to be gone")
    # The kernel has let go of the lock, and the next one removes what the dead one left.
    start("one=waits")
    until(lambda: set(ready(tmp_path).get("pids", {})) == {"one"}, "the next supervisor")


def test_a_second_supervisor_on_the_same_folder_is_refused(start: Start, tmp_path: Path) -> None:
    first = start("one=waits")
    until(lambda: all_ready(tmp_path), "ready.json")
    _, complaint = (second := start("one=waits")).communicate(timeout=60)
    assert second.returncode == 1
    assert f"in use by process {first.pid}" in complaint
    assert all_ready(tmp_path)


def test_a_child_that_cannot_start_ends_the_first_start_with_its_log(
    start: Start, tmp_path: Path
) -> None:
    _, complaint = (supervisor := start("one=waits", "two=ends")).communicate(timeout=60)
    assert supervisor.returncode == 1
    assert "two ended with 3, 4 times" in complaint
    assert not (tmp_path / "ready.json").exists()
