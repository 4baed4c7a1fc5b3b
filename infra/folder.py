"""A stack's data folder: its lock, its secrets, its ports, files that are never half written."""

import fcntl
import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Below the ports that Linux hands to outgoing connections (32768 up): a client that keeps dialling
# a dead server there may be given the server's own port, connect to itself, and keep it taken.
PORTS = range(20000, 32000)


class FolderInUse(RuntimeError):
    """Another supervisor runs on this data folder."""


def open_folder(path: Path) -> Path:
    """Make the folder and its logs, for this user only. Returns its absolute path."""
    path = path.expanduser().resolve()
    (path / "logs").mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder; the kernel lets go when the process ends, however it ends."""
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise FolderInUse(
                f"{folder} is in use by process {file.read().strip() or 'unknown'}. "
                "Stop that one, or give this one another --data-dir."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step; only this user may read it."""
    new = path.with_name(path.name + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)
    new.replace(path)


def write_json(path: Path, value: dict[str, Any]) -> None:
    write_private(path, json.dumps(value, indent=2) + "\n")


def secret(path: Path) -> str:
    """The secret kept at `path`, made on first use: 32 characters that need no quoting in a URL."""
    if not path.exists():
        write_private(path, secrets.token_hex(16))
    return path.read_text().strip()


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on now."""
    for _ in range(1000):
        port = secrets.choice(PORTS)
        if is_free(port):
            return port
    raise RuntimeError(f"no free port between {PORTS.start} and {PORTS.stop - 1}")
