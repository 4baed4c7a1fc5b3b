"""Keeps a set of parts running: starts them in stages, restarts what died, stops all in order.

stage 0 up -> its `then` -> stage 1 up -> its `then` -> ... -> all ready: ready.json
                                                         part died: again, after a pause
SIGTERM, SIGINT, SIGHUP: stop by rank; the same once more: kill
"""

import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from infra.folder import write_json
from infra.part import Part, PartFailed
from infra.progress import Progress

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
# Up for so long: the next death is a new story, not one more of the same.
HEALTHY_S = 30.0
# Before everything was ready once, a part that keeps dying is a broken set-up: say so and give up.
TRIES_AT_FIRST = 4
TURN_S = 0.05
# linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36
Wake = Callable[[float], set[signal.Signals]]
STOPS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


@dataclass(frozen=True, slots=True)
class Stage:
    """Parts that start together; `then` runs once all of them are ready."""

    parts: Sequence[Part]
    then: Callable[[], None] = lambda: None


@dataclass
class Watched:
    part: Part
    since: float = 0.0
    ready: bool = False
    deaths: int = 0
    again_at: float | None = None
    probe: Future[bool] | None = None


@dataclass
class Supervision:
    """`facts` are the keys of ready.json beside pids and states; `on_ready` is called once."""

    folder: Path
    stages: Sequence[Stage]
    facts: Callable[[], dict[str, Any]]
    on_ready: Callable[[], None] = lambda: None
    progress: Progress = field(default_factory=Progress)
    # Started once everything is ready, and watched from then on like the others.
    later: Sequence[Part] = ()
    watched: list[Watched] = field(default_factory=list)
    stage: int = -1
    complete: bool = False
    # Probes wait for answers, and while one waits for a hung part the others must still be watched.
    probes: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(8, "probe"))

    @property
    def ready_file(self) -> Path:
        return self.folder / "ready.json"


def supervise(s: Supervision) -> None:
    """Run until told to stop; the caller holds the folder's lock, on the main thread.

    Raises PartFailed when the first start does not succeed; nothing is left running then.
    """
    _adopt_orphans()
    with _wakeups() as wake:
        s.ready_file.unlink(missing_ok=True)
        try:
            while not STOPS & (came := wake(_turn(s))):
                if signal.SIGCHLD in came:
                    _end_orphans(s)
        finally:
            s.ready_file.unlink(missing_ok=True)
            _shut_down(s, wake)
            _end_orphans(s)
            psutil.wait_procs(psutil.Process().children(), timeout=10)
            s.probes.shutdown(wait=False)


def _adopt_orphans() -> None:
    """What a dead part leaves running, in whatever session, becomes a child of this process."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_orphans(s: Supervision) -> None:
    """An engine without its worker would keep its memory and its GPU from the next one."""
    known = {w.part.pid for w in s.watched if w.part.process is not None}
    for process in psutil.Process().children():
        if process.pid not in known:
            with suppress(psutil.NoSuchProcess):
                process.kill()
            # Its end is one more SIGCHLD, which comes here again.
            with suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)


def _turn(s: Supervision) -> float:
    """Look at everything once. Returns the seconds until there may be something to do."""
    for w in s.watched:
        _look(s, w)
    pending = [w.part.name for w in s.watched if not w.ready]
    if not pending and not s.complete:
        _advance(s)
    s.progress.waiting([] if s.complete else pending)
    return TURN_S if pending or not s.complete else 1.0


def _advance(s: Supervision) -> None:
    """This stage is ready: go to the next, or be complete."""
    if s.stage >= 0:
        s.stages[s.stage].then()
    s.stage += 1
    if s.stage == len(s.stages):
        s.complete = True
        s.progress.quiet()
        _tell(s)
        s.on_ready()
        _begin(s, s.later)
        return
    _begin(s, s.stages[s.stage].parts)


def _begin(s: Supervision, parts: Sequence[Part]) -> None:
    for part in parts:
        w = Watched(part)
        s.watched.append(w)
        _spawn(s, w)


def _look(s: Supervision, w: Watched) -> None:
    now = time.monotonic()
    if w.again_at is not None:
        if now >= w.again_at:
            _spawn(s, w)
        return
    if (code := w.part.exited()) is not None:
        _died(s, w, code)
    elif not w.ready and _answered(s, w):
        w.ready = True
        s.progress.say(f"{w.part.name} is ready ({now - w.since:.1f} s)")
        _tell(s)
    elif w.ready and w.deaths and now - w.since > HEALTHY_S:
        w.deaths = 0


def _answered(s: Supervision, w: Watched) -> bool:
    """Whether the probe under way has found the part ready; starts the next one when it has not."""
    if w.probe is not None and not w.probe.done():
        return False
    ready = w.probe is not None and w.probe.result()
    w.probe = None if ready else s.probes.submit(w.part.ready)
    return ready


def _spawn(s: Supervision, w: Watched) -> None:
    # A probe of the one that died says nothing about this one.
    w.again_at, w.ready, w.since, w.probe = None, False, time.monotonic(), None
    try:
        w.part.spawn()
    except (PartFailed, OSError) as error:
        if not s.complete:
            raise
        s.progress.say(f"{w.part.name} cannot be started: {error}")
        _pause(w)
    _tell(s)


def _died(s: Supervision, w: Watched, code: int) -> None:
    _pause(w)
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    if not s.complete and w.deaths >= TRIES_AT_FIRST:
        raise PartFailed(f"{w.part.name} {how}, {w.deaths} times.\n{w.part.tail()}")
    s.progress.say(f"{w.part.name} {how}; starting it again. Its log: {w.part.log}")
    _tell(s)


def _pause(w: Watched) -> None:
    pause = min(FIRST_PAUSE_S * 2.0**w.deaths, LONGEST_PAUSE_S)
    w.deaths += 1
    w.ready = False
    w.again_at = time.monotonic() + pause


def _tell(s: Supervision) -> None:
    """Write ready.json, once there has been a moment when everything was ready."""
    if not s.complete:
        return
    up = [w for w in s.watched if w.again_at is None]
    write_json(
        s.ready_file,
        {
            **s.facts(),
            "supervisor": os.getpid(),
            "pids": {w.part.name: w.part.pid for w in up},
            "states": {
                w.part.name: "down" if w not in up else "ready" if w.ready else "starting"
                for w in s.watched
            },
        },
    )


def _shut_down(s: Supervision, wake: Wake) -> None:
    """Rank by rank. A second signal, like a grace time that is over, kills."""
    s.progress.quiet()
    parts = [w.part for w in s.watched]
    try:
        for rank in sorted({p.stop_rank for p in parts}):
            group = [p for p in parts if p.stop_rank == rank and p.exited() is None]
            if group:
                s.progress.say(f"stopping {', '.join(p.name for p in group)}")
            for part in group:
                part.ask_to_end()
            if not _all_gone(group, wake):
                s.progress.say("killing what is left")
                return
    finally:
        for part in sorted(parts, key=lambda p: p.stop_rank):
            part.kill()


def _all_gone(group: list[Part], wake: Wake) -> bool:
    """Wait for the group, killing each after its grace; False when told a second time to stop."""
    began = time.monotonic()
    while waiting := [p for p in group if p.exited() is None]:
        if STOPS & wake(TURN_S):
            return False
        for part in waiting:
            if time.monotonic() - began > part.grace_s:
                part.kill()
    return True


@contextmanager
def _wakeups() -> Iterator[Wake]:
    """A function that sleeps so long, or until a signal comes, and says which came.

    Through a pipe: a handler that does more than nothing may run at any line of the code above.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    previous_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    numbers = [*STOPS, signal.SIGCHLD]
    previous = {n: signal.signal(n, lambda *_: None) for n in numbers}

    def wake(seconds: float) -> set[signal.Signals]:
        ready, _, _ = select.select([reader], [], [], seconds)
        return {signal.Signals(n) for n in os.read(reader, 4096)} if ready else set()

    try:
        yield wake
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(previous_fd)
        os.close(reader)
        os.close(writer)
