"""Processes of one task, started together, watched together, and never left behind.

    worker --Popen--> leash --exec--> python -m <module> <plan>     rank 0, 1, ... on this host
           --ssh----> tether -------> the same                      on the hosts of a hostfile
           <--pipe--- JSON lines      what rank 0 tells; another rank on this host tells only how it failed

torchrun and the deepspeed launcher leave ranks behind when they are killed themselves; these die with us.
"""

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from core.errors import Retryable

log = structlog.get_logger(__name__)

EVENTS_FD = "PENSTOCK_EVENTS_FD"
# One of these is the last thing that a task says.
LAST_WORDS = ("done", "stopped", "failed")
# Time to end by themselves after the last word: freeing a GPU and closing NCCL takes seconds. After
# "failed" a rank may wait in a collective for one that is gone, for ever.
ENDING_S = {"done": 30.0, "stopped": 30.0, "failed": 5.0}
# What a rank said just before it ended is still in the pipe.
DRAIN_S = 0.5
# A rejected training file is told of in one line.
LINE_BYTES = 16 * 2**20
LOG_LINES, LOG_BYTES = 20, 8192
# Below the ports that Linux hands to outgoing connections: a rank that dials its master there before it
# listens may be given the very port, connect to itself, and keep it taken.
PORTS = range(20000, 32000)


class Died(Retryable):
    """A rank ended, or fell silent, without a last word; the message is for our log, not for the client."""

    code = "trainer_died"


class Crashed(Exception):
    """A rank ended by an error of its own that nobody foresaw: another try will most likely end so, too."""


class Host(NamedTuple):
    name: str
    slots: int


@dataclass
class Rank:
    number: int
    process: asyncio.subprocess.Process
    log: Path
    ended: asyncio.Task[int]


def hosts_of(hostfile: str) -> list[Host]:
    """The hosts of a DeepSpeed hostfile: `name slots=N` a line. Raises ValueError with the line at fault."""
    hosts = []
    for number, line in enumerate(hostfile.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        slots = words[1].removeprefix("slots=") if len(words) == 2 else ""
        if not slots.isdigit() or not int(slots) or words[0].startswith("-"):
            raise ValueError(f"hostfile line {number}: {line.strip()!r} is not 'name slots=N'")
        hosts.append(Host(words[0], int(slots)))
    return hosts


def free_port() -> int:
    """A port that nothing listens on now."""
    for _ in range(1000):
        port = secrets.choice(PORTS)
        with socket.socket() as probe:
            # As servers do: a port in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no free port between {PORTS.start} and {PORTS.stop - 1}")


class Ranks:
    """Use it as: start(), read events() to their end, end() in any case.

    `env` is added to our environment; on other hosts it is all they get from us. With `hosts` the ranks
    fill their slots in order; the first host is this one, whatever its name, and its name is where the
    others find it. The plan's folder is the same on all hosts.
    """

    def __init__(
        self, module: str, plan: Path, *, world: int = 1, env: Mapping[str, str] | None = None,
        silent_s: float = 600.0, hosts: Sequence[Host] = (),
    ) -> None:  # fmt: skip
        self.module, self.plan, self.world = module, plan.resolve(), world
        self.env, self.silent_s = dict(env or {}), silent_s
        self.hosts = list(hosts) or [Host("127.0.0.1", world)]
        if sum(host.slots for host in self.hosts) < world:
            raise ValueError(f"{world} ranks do not fit the slots of {self.hosts}")
        self._ranks: list[Rank] = []
        self._events: asyncio.StreamReader | None = None
        self._pipe: asyncio.ReadTransport | None = None
        self._ending = False

    @property
    def pids(self) -> list[int]:
        """Of the ranks on this host, and of the ssh clients of the others."""
        return [rank.process.pid for rank in self._ranks]

    async def start(self) -> None:
        """Start every rank. An earlier ask_to_stop is forgotten. Raises OSError when a program is missing."""
        (self.plan.parent / "stop").unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        read, write = os.pipe()
        self._events = asyncio.StreamReader(LINE_BYTES)
        reader = asyncio.StreamReaderProtocol(self._events)
        self._pipe, _ = await loop.connect_read_pipe(lambda: reader, os.fdopen(read, "rb"))
        port = str(free_port())
        try:
            seats = [
                (at, local) for at, host in enumerate(self.hosts) for local in range(host.slots)
            ]
            for number, (at, local) in enumerate(seats[: self.world]):
                places = {
                    "RANK": str(number), "LOCAL_RANK": str(local), "WORLD_SIZE": str(self.world),
                    "MASTER_ADDR": self.hosts[0].name, "MASTER_PORT": port,
                }  # fmt: skip
                await self._start(number, self.hosts[at].name if at else "", places, write)
        except BaseException:
            await self.end(0)
            raise
        finally:
            os.close(write)

    async def _start(self, number: int, host: str, places: dict[str, str], pipe: int) -> None:
        argv = [sys.executable, "-m", self.module, str(self.plan)]
        env = self.env | places
        path = self.plan.parent / f"rank{number}.log"
        leash = [
            sys.executable,
            "-I",
            "-S",
            str(Path(__file__).with_name("leash.py")),
            str(os.getpid()),
        ]
        tether = [
            "ssh",
            "-o",
            "BatchMode=yes",
            host,
            sys.executable,
            str(Path(__file__).with_name("tether.py")),
        ]
        with path.open("wb") as said:
            process = await asyncio.create_subprocess_exec(
                *leash, *(tether if host else argv),
                env=os.environ | env | ({} if host else {EVENTS_FD: str(pipe)}),
                pass_fds=() if host else (pipe,),
                stdin=asyncio.subprocess.PIPE if host else asyncio.subprocess.DEVNULL,
                stdout=said, stderr=said, start_new_session=True,
            )  # fmt: skip
        self._ranks.append(Rank(number, process, path, asyncio.create_task(process.wait())))
        if process.stdin:
            asked = {"argv": argv, "env": env, "folder": str(Path.cwd())}
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            await process.stdin.drain()

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """What the task tells, until all ranks have ended. Raises Died, Crashed."""
        assert self._events is not None, "start() comes first"
        last = ""
        line: asyncio.Future[bytes] = asyncio.ensure_future(self._events.readline())
        try:
            while not last:
                gone = self._gone()
                awaited: set[asyncio.Future[Any]] = {line}
                if not gone:
                    awaited |= {rank.ended for rank in self._ranks if not rank.ended.done()}
                news, _ = await asyncio.wait(
                    awaited,
                    timeout=DRAIN_S if gone else self.silent_s,
                    return_when="FIRST_COMPLETED",
                )
                # A rank that is killed may leave half a line.
                if line.done() and (text := line.result()).endswith(b"\n"):
                    event = json.loads(text)
                    last = event["type"] if event["type"] in LAST_WORDS else ""
                    line = asyncio.ensure_future(self._events.readline())
                    yield event
                elif gone:
                    raise self._obituary(gone)
                elif line.done():
                    # No rank on this host can speak any more: its end is what is waited for.
                    line = asyncio.get_running_loop().create_future()
                elif not news:
                    raise Died(
                        f"nothing was heard for {self.silent_s:g} s{self._tail(self._ranks[0])}"
                    )
        finally:
            line.cancel()
        await self._see_out(ENDING_S[last])

    def _gone(self) -> list[Rank]:
        """The ranks that ended badly; or all, once all have ended."""
        ended = [rank for rank in self._ranks if rank.ended.done()]
        bad = [rank for rank in ended if rank.ended.result() != 0]
        return bad or (ended if len(ended) == len(self._ranks) else [])

    def _obituary(self, gone: list[Rank]) -> Died | Crashed:
        # When one is killed, its peers fail at once in the collective that it does not join.
        rank = next((r for r in gone if r.ended.result() < 0), gone[0])
        status = rank.ended.result()
        how = f"by signal {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        said = f"rank {rank.number} of {self.world} ended {how} and no last word{self._tail(rank)}"
        # 255 is ssh that lost its host.
        return Crashed(said) if 0 < status < 255 else Died(said)

    def _tail(self, rank: Rank) -> str:
        with rank.log.open("rb") as file:
            file.seek(max(rank.log.stat().st_size - LOG_BYTES, 0))
            lines = file.read().decode(errors="replace").splitlines()[-LOG_LINES:]
        return (
            "\n".join([f"; {rank.log.name} ends with:", *lines]) if lines else "; its log is empty"
        )

    async def _see_out(self, grace_s: float) -> None:
        _, still = await asyncio.wait([rank.ended for rank in self._ranks], timeout=grace_s)
        if still:
            log.warning("ranks stayed after the last word", plan=str(self.plan), ranks=len(still))
            await self.end()

    def ask_to_stop(self) -> None:
        """The task saves what it has and ends with "stopped"; may be asked again."""
        (self.plan.parent / "stop").touch()

    async def end(self, grace_s: float = 5.0) -> None:
        """SIGTERM, then SIGKILL; after it no process of ours is left, nor any that it started. Idempotent."""
        alive = [rank for rank in self._ranks if not rank.ended.done()]
        if alive and grace_s > 0:
            for rank in alive:
                _signal(rank, signal.SIGTERM)
            await asyncio.wait([rank.ended for rank in alive], timeout=grace_s)
        if not self._ending:
            for rank in self._ranks:
                # Also the group of a rank that has ended: what it started may still be there.
                _signal(rank, signal.SIGKILL)
        self._ending = True
        if self._ranks:
            await asyncio.wait([rank.ended for rank in self._ranks])
        if self._pipe:
            self._pipe.close()


def _signal(rank: Rank, number: signal.Signals) -> None:
    try:
        os.killpg(rank.process.pid, number)
    except ProcessLookupError:
        return
