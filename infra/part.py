"""One child process of a stack: started on a leash, asked if it is ready, ended, killed, hung."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

LEASH = Path(__file__).with_name("leash.py")
LOG_MAX_BYTES = 32 * 1024 * 1024

# A leash is bound to the thread that forked. This one lives as long as the process, so that a part
# that was started from some worker thread does not die with that thread.
_SPAWNER = ThreadPoolExecutor(1, thread_name_prefix="spawn")


class PartFailed(RuntimeError):
    """A part ended, or was not ready in time; the message carries the end of its log."""


@dataclass(frozen=True, slots=True)
class User:
    """Whom a part runs as; -1 stays who we are."""

    uid: int = -1
    gid: int = -1


def _nothing() -> None:
    """The default of a hook."""


@dataclass
class Part:
    """`env` is the whole environment. `prepare` runs before each start, `clear` takes the data."""

    name: str
    argv: list[str]
    env: dict[str, str]
    log: Path
    ready: Callable[[], bool]
    prepare: Callable[[], None] = _nothing
    clear: Callable[[], None] = _nothing
    user: User = field(default_factory=User)
    end_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    grace_s: float = 10.0
    stop_rank: int = 0
    """Parts of a lower rank are stopped, and gone, before those of a higher one are told."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self.process is None:
            raise PartFailed(f"{self.name} was not started")
        return self.process.pid

    def spawn(self) -> None:
        """Start the process; it is not ready yet."""
        if self.exited() is None:
            raise PartFailed(f"{self.name} already runs as process {self.pid}")
        self.prepare()
        with _log(self.log) as log:
            self.process = leashed(self.argv, self.env, log, self.user, self.death_signal)

    def start(self, timeout_s: float = 60.0) -> None:
        """Start it and wait until it is ready. Raises PartFailed."""
        self.spawn()
        self.await_ready(timeout_s)

    def await_ready(self, timeout_s: float = 60.0) -> None:
        """Raises PartFailed when it ends, or is not ready in time."""
        deadline = time.monotonic() + timeout_s
        while not self.ready():
            if (code := self.exited()) is not None:
                raise PartFailed(f"{self.name} ended with {code} at its start.\n{self.tail()}")
            if time.monotonic() > deadline:
                raise PartFailed(f"{self.name} is not ready after {timeout_s:g} s.\n{self.tail()}")
            time.sleep(0.02)

    def exited(self) -> int | None:
        """Exit code (negative: the signal), None while it runs; -1 when it was never started."""
        if self.process is None:
            return -1
        if self.process.returncode is None and _is_dead(self.process.pid):
            # Not reaped yet, so its process group cannot be someone else's: end what it left.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        return self.process.returncode

    def send(self, number: signal.Signals) -> None:
        if self.exited() is None:
            os.kill(self.pid, number)

    def end(self) -> None:
        """Ask it to stop, and wait; after `grace_s` it is killed."""
        self.ask_to_end()
        if not self.wait(self.grace_s):
            self.kill()

    def ask_to_end(self) -> None:
        self.send(self.end_signal)
        self.cont()  # a stopped process hears nothing but this

    def kill(self) -> None:
        """SIGKILL, and to every process under it. Returns when they are gone."""
        family = self.family()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.wait(10.0)
        deadline = time.monotonic() + 10.0
        while any(_lives(p) for p in family) and time.monotonic() < deadline:
            time.sleep(0.01)

    def stop(self) -> None:
        """SIGSTOP: it hangs, its connections stay open, nothing of it moves until cont()."""
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def cont(self) -> None:
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def wipe(self) -> None:
        """Take its data away. It must not run. The next start is a first one."""
        if self.exited() is None:
            raise PartFailed(f"{self.name} runs: kill() or end() it before wipe()")
        self.clear()

    def wait(self, timeout_s: float) -> bool:
        """Whether it ended within so long."""
        deadline = time.monotonic() + timeout_s
        while self.exited() is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def family(self) -> list[psutil.Process]:
        """It, first, and all below it; empty when it is gone."""
        if self.exited() is not None:
            return []
        try:
            head = psutil.Process(self.pid)
            return [head, *head.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def tail(self, lines: int = 15) -> str:
        """The end of its log, for an error message."""
        try:
            text = self.log.read_text(errors="replace")
        except FileNotFoundError:
            text = ""
        return f"{self.log} ends with:\n" + "\n".join(text.splitlines()[-lines:])


def _lives(process: psutil.Process) -> bool:
    """A zombie has let go of everything; when its new parent reaps it is not our concern."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _is_dead(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def leashed(
    argv: list[str],
    env: dict[str, str],
    log: int,
    user: User,
    death_signal: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start `argv` in a session of its own, so that the terminal's Ctrl-C is ours to pass on."""
    leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), str(int(death_signal))]
    command = [*leash, str(user.uid), str(user.gid), *argv]

    def fork() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    return _SPAWNER.submit(fork).result()


class _log:  # noqa: N801 - reads as the with statement it is for
    """An appendable log as a file descriptor; one that has grown too long is put aside first."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> int:
        if self.path.exists() and self.path.stat().st_size > LOG_MAX_BYTES:
            self.path.replace(self.path.with_suffix(".old.log"))
        self.descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return self.descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)
