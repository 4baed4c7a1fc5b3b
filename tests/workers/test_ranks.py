"""Ranks are started together, heard, and never left behind, whoever is killed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.waiting import until
from workers.ranks import Crashed, Died, Host, Ranks, hosts_of

DONE = ["tell", {"type": "done"}]
# Stands in for sshd: the address is dropped, the rest runs here, in a shell, with ssh's standard input.
SSH = """#!/bin/sh
while [ "$1" = -o ]; do shift 2; done
echo "$1" >> "$(dirname "$0")/asked"
shift
exec sh -c "$*"
"""
OWNER = """
import asyncio, sys
from pathlib import Path
from workers.ranks import Ranks

async def main():
    ranks = Ranks("tests.fakes.rank", Path(sys.argv[1]), world=2)
    await ranks.start()
    async for _ in ranks.events():
        pass

asyncio.run(main())
"""


def plan(folder: Path, *ranks: list[list[Any]]) -> Path:
    path = folder / "plan.json"
    path.write_text(json.dumps({"ranks": ranks}))
    return path


def of(folder: Path, *steps: list[list[Any]], **options: Any) -> Ranks:
    return Ranks("tests.fakes.rank", plan(folder, *steps), world=len(steps), **options)


async def heard(ranks: Ranks) -> list[dict[str, Any]]:
    try:
        await ranks.start()
        return [event async for event in ranks.events()]
    finally:
        await ranks.end(0.2)


def read(path: Path) -> str:
    return path.read_text()


def gone(pid: int) -> bool:
    # A zombie of a process that ended is somebody else's to reap.
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_ranks_know_their_places_and_are_heard_in_order(tmp_path: Path) -> None:
    told = {
        "type": "step",
        "rank": "$RANK",
        "world": "$WORLD_SIZE",
        "seed": "$SEED",
        "at": "$MASTER_ADDR",
    }
    events = await heard(
        of(tmp_path, [["tell", told], DONE], [["say", "hello"]], env={"SEED": "7"})
    )
    assert [e["type"] for e in events] == ["step", "done"]
    assert {**told, "rank": "0", "world": "2", "seed": "7", "at": "127.0.0.1"} == events[0]
    assert (tmp_path / "rank1.log").read_text() == "hello\n"


async def test_a_rank_that_fails_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    steps: list[list[list[Any]]] = [[["hang"]], [["say", "no such file"], ["end", 3]]]
    with pytest.raises(Crashed, match=r"rank 1 of 2 ended with status 3(?s:.*)no such file"):
        await heard(of(tmp_path, *steps))
    assert gone(int((tmp_path / "pid0").read_text()))


async def test_a_killed_rank_is_named_with_its_signal(tmp_path: Path) -> None:
    ranks = of(tmp_path, [["tell", {"type": "phase"}], ["hang"]], [["hang"]])
    await ranks.start()
    events = ranks.events()
    await anext(events)
    os.kill(ranks.pids[1], signal.SIGKILL)
    with pytest.raises(Died, match="rank 1 of 2 ended by signal SIGKILL"):
        await anext(events)
    await ranks.end(0)
    assert all(map(gone, ranks.pids))


async def test_ending_well_without_a_last_word_is_a_death_too(tmp_path: Path) -> None:
    with pytest.raises(Died, match="status 0 and no last word"):
        await heard(of(tmp_path, [["tell", {"type": "step"}], ["half"]]))


async def test_the_last_word_counts_more_than_the_exit_status(tmp_path: Path) -> None:
    failed = {"type": "failed", "code": "out_of_memory", "message": "..."}
    # Also from another rank than the first, which waits for it in vain.
    assert await heard(of(tmp_path, [["hang"]], [["tell", failed], ["end", 1]])) == [failed]


async def test_silence_is_a_death(tmp_path: Path) -> None:
    with pytest.raises(Died, match=r"nothing was heard for 0\.3 s"):
        await heard(of(tmp_path, [["hang"]], silent_s=0.3))


async def test_a_stop_is_asked_for_by_a_file_and_an_old_one_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    stopped = {"type": "stopped", "step": 3}
    ranks = of(tmp_path, [["tell", {"type": "phase"}], ["await", "stop"], ["tell", stopped]])
    await ranks.start()
    events = ranks.events()
    await anext(events)
    assert not (tmp_path / "stop").exists()
    ranks.ask_to_stop()
    assert [event async for event in events] == [stopped]
    await ranks.end()


async def test_the_end_reaches_the_deaf_and_what_they_started(tmp_path: Path) -> None:
    ranks = of(tmp_path, [["deaf"], ["spawn"], ["tell", {"type": "phase"}], ["hang"]])
    await ranks.start()
    await anext(ranks.events())
    await ranks.end(0.2)
    await ranks.end(0.2)
    child = int((tmp_path / "child0").read_text())
    until(lambda: all(map(gone, [child, *ranks.pids])), "all are gone")


def test_no_rank_outlives_a_killed_owner(tmp_path: Path) -> None:
    path = plan(tmp_path, [["deaf"], ["hang"]], [["deaf"], ["hang"]])
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(path)])
    files = [tmp_path / "pid0", tmp_path / "pid1"]
    until(lambda: all(f.exists() and f.read_text() for f in files), "both ranks run")
    owner.kill()
    owner.wait()
    until(lambda: all(gone(int(f.read_text())) for f in files), "both ranks are gone")


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ssh").write_text(SSH)
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder / "asked"


async def test_ranks_on_other_hosts_are_started_over_ssh(tmp_path: Path, ssh: Path) -> None:
    hosts = hosts_of("# ours\nhere slots=1\n\nthere slots=2\n")
    assert hosts == [Host("here", 1), Host("there", 2)]
    say = [["say", "far"], ["spawn"], ["await", "go"]]
    ranks = of(tmp_path, [["await", "go"], DONE], say, say, hosts=hosts, env={"SEED": "7"})
    await ranks.start()
    logs = [tmp_path / "rank1.log", tmp_path / "rank2.log"]
    until(lambda: all(log.read_text() == "far\n" for log in logs), "both speak")
    (tmp_path / "go").touch()
    assert await heard_on(ranks) == [DONE[1]]
    await ranks.end()
    assert read(ssh) == "there\nthere\n"
    left = [int(read(tmp_path / f"child{rank}")) for rank in (1, 2)]
    until(lambda: all(map(gone, left)), "what they started is gone")


async def test_a_rank_elsewhere_ends_with_its_connection(tmp_path: Path, ssh: Path) -> None:
    ranks = of(tmp_path, [["hang"]], [["hang"]], hosts=[Host("here", 1), Host("there", 1)])
    await ranks.start()
    far = tmp_path / "pid1"
    until(lambda: far.exists() and far.read_text(), "the far rank runs")
    os.kill(ranks.pids[1], signal.SIGKILL)
    with pytest.raises(Died, match="rank 1"):
        await heard_on(ranks)
    until(lambda: gone(int(far.read_text())), "the far rank is gone")
    await ranks.end(0)


async def heard_on(ranks: Ranks) -> list[dict[str, Any]]:
    return [event async for event in ranks.events()]


@pytest.mark.parametrize(
    "line", ["a", "a slots=0", "a slots=x", "a b slots=1", "-oProxyCommand=x slots=1"]
)
def test_a_line_that_is_no_host_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="hostfile line 2"):
        hosts_of(f"good slots=1\n{line}\n")
