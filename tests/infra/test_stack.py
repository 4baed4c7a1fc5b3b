"""Each embedded server survives being killed, hung and restarted, and dies with its owner."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from redis.backoff import NoBackoff
from redis.retry import Retry

from infra import folder as folder_module
from infra.folder import open_folder, write_private
from infra.local import Stack, embedded
from infra.part import LEASH, Part, PartFailed
from infra.stack.binaries import binary
from infra.stack.postgres import clear_stale_lock
from tests.waiting import until

pytestmark = pytest.mark.fault


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = embedded(tmp_path / "data")
    stack.start()
    yield stack
    stack.kill()


def rows(stack: Stack) -> list[tuple[int, ...]]:
    with psycopg.connect(stack.urls["postgres"]) as connection:
        return connection.execute("SELECT n FROM kept").fetchall()


def keep(stack: Stack) -> None:
    with psycopg.connect(stack.urls["postgres"]) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (7)")


def test_postgres_keeps_what_was_committed_when_it_is_killed(stack: Stack) -> None:
    keep(stack)
    stack.parts["postgres"].kill()
    assert not stack.parts["postgres"].ready()
    stack.parts["postgres"].start()
    assert rows(stack) == [(7,)]


def test_postgres_comes_back_when_its_old_process_number_is_someone_elses(stack: Stack) -> None:
    keep(stack)
    stack.parts["postgres"].kill()
    lock = stack.folder / "postgres" / "postmaster.pid"
    _, rest = lock.read_text().split("\n", 1)
    lock.write_text(f"{os.getpid()}\n{rest}")
    stack.parts["postgres"].start()
    assert rows(stack) == [(7,)]


def test_a_wiped_postgres_starts_again_empty(stack: Stack) -> None:
    keep(stack)
    with pytest.raises(PartFailed, match="kill\\(\\) or end\\(\\) it before wipe"):
        stack.parts["postgres"].wipe()
    stack.parts["postgres"].end()
    stack.parts["postgres"].wipe()
    stack.parts["postgres"].start()
    with pytest.raises(psycopg.errors.UndefinedTable):
        rows(stack)


def test_postgres_is_durable_by_its_settings(stack: Stack) -> None:
    with psycopg.connect(stack.urls["postgres"]) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert connection.execute(f"SHOW {setting}").fetchone() == ("on",)


def test_redis_keeps_its_keys_when_it_is_killed_and_loses_them_when_wiped(stack: Stack) -> None:
    part = stack.parts["redis"]
    with redis.Redis.from_url(stack.urls["redis"]) as client:
        client.set("kept", "7")
        # A write is on disk within a second by design; this test is about what comes after that.
        until(lambda: client.info("persistence")["aof_pending_bio_fsync"] == 0, "the fsync")
        part.kill()
        part.start()
        assert client.get("kept") == b"7"
        part.kill()
        part.wipe()
        part.start()
        assert client.get("kept") is None
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_redis_wants_its_password(stack: Stack) -> None:
    for password in (None, "wrong"):
        client = redis.Redis(
            port=stack.ports["redis"], password=password, retry=Retry(NoBackoff(), 0)
        )
        with client, pytest.raises(redis.AuthenticationError):
            client.ping()


def test_a_stopped_redis_hangs_and_goes_on(stack: Stack) -> None:
    stack.parts["redis"].stop()
    assert not stack.parts["redis"].ready()
    stack.parts["redis"].cont()
    until(stack.parts["redis"].ready, "Redis to answer again")


def test_the_kafka_broker_comes_back_without_its_log(stack: Stack) -> None:
    def topics() -> list[str]:
        admin = KafkaAdminClient(bootstrap_servers=stack.urls["kafka"])
        try:
            return list(admin.list_topics())
        finally:
            admin.close()

    admin = KafkaAdminClient(bootstrap_servers=stack.urls["kafka"])
    admin.create_topics([NewTopic("kept", 1, 1)])
    admin.close()
    assert "kept" in topics()
    stack.parts["kafka"].kill()
    stack.parts["kafka"].start()
    assert "kept" not in topics()


def test_secrets_are_for_their_owner_only(stack: Stack) -> None:
    assert stack.folder.stat().st_mode & 0o077 == 0
    for name in ("postgres.password", "redis.password", "redis.conf"):
        assert (stack.folder / name).stat().st_mode & 0o077 == 0
    for part in stack.parts.values():
        secrets = [(stack.folder / f"{n}.password").read_text() for n in ("postgres", "redis")]
        assert not any(s in " ".join(psutil.Process(part.pid).cmdline()) for s in secrets)


def test_a_part_runs_once_and_says_so(stack: Stack) -> None:
    with pytest.raises(PartFailed, match="kafka already runs as process"):
        stack.parts["kafka"].start()


def test_a_server_that_cannot_start_says_what_its_log_says(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        stack = embedded(tmp_path, names=["redis"], ports={"redis": taken.getsockname()[1]})
        with pytest.raises(PartFailed, match="redis ended with 1 at its start"):
            stack.start()


def test_a_postgres_that_cannot_be_made_says_why_and_leaves_nothing_half_made(
    tmp_path: Path,
) -> None:
    folder = open_folder(tmp_path)
    write_private(folder / "postgres.password", "")
    stack = embedded(folder, names=["postgres"])
    with pytest.raises(PartFailed, match=r"(?s)initdb ended with 1.*password file .* is empty"):
        stack.start()
    assert not (folder / "postgres").exists()


def test_a_postgres_left_by_another_owner_is_named_not_overrun(stack: Stack) -> None:
    lock = stack.folder / "postgres" / "postmaster.pid"
    with pytest.raises(PartFailed, match=f"kill {stack.parts['postgres'].pid}"):
        clear_stale_lock(lock, patience_s=0.1)
    assert lock.exists()


def test_a_part_that_was_never_started_has_no_pid(tmp_path: Path) -> None:
    part = Part("idle", ["/bin/sleep", "60"], {}, tmp_path / "idle.log", ready=lambda: False)
    with pytest.raises(PartFailed, match="idle was not started"):
        _ = part.pid


def test_a_leash_held_by_nobody_starts_nothing() -> None:
    # Process 1 did not start it: as when the owner died before the leash was on.
    command = [sys.executable, "-I", "-S", str(LEASH), "1", "9", "-1", "-1", "/bin/echo", "ran"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert "is gone already" in result.stderr


def test_without_a_free_port_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(folder_module, "PORTS", range(port, port + 1))
        with pytest.raises(RuntimeError, match=f"no free port between {port} and {port}"):
            folder_module.free_port()


def test_an_unknown_device_is_refused_by_the_installer() -> None:
    script = Path(folder_module.__file__).with_name("install.sh")
    result = subprocess.run(
        ["sh", str(script)],
        env=os.environ | {"DEVICE": "tpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "DEVICE is 'tpu': say cpu or gpu" in result.stderr


def test_a_part_that_never_gets_ready_is_told_with_its_log(tmp_path: Path) -> None:
    part = Part("idle", ["/bin/sleep", "60"], {}, tmp_path / "idle.log", ready=lambda: False)
    with pytest.raises(PartFailed, match=r"idle is not ready after 0\.1 s"):
        part.start(timeout_s=0.1)
    part.kill()


def test_a_missing_package_is_named_with_the_way_out() -> None:
    with pytest.raises(PartFailed, match="package no_such_package is not installed"):
        binary("no_such_package", "bin", "server")


def test_the_servers_die_with_a_killed_owner(tmp_path: Path) -> None:
    program = (
        "import sys, signal; from pathlib import Path; from infra.local import embedded\n"
        "stack = embedded(Path(sys.argv[1])); stack.start()\n"
        "print(*[p.pid for p in stack.parts.values()], flush=True); signal.pause()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    family = [psutil.Process(int(pid)) for pid in owner.stdout.readline().split()]
    everyone = [*family, *family[0].children(recursive=True)]
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    until(lambda: not any(alive(p) for p in everyone), "every server to be gone")


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
