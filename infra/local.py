"""The embedded stack: Postgres, Redis and a Kafka broker as child processes in one data folder."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from infra.folder import free_port, open_folder
from infra.part import Part
from infra.stack.kafka_broker import kafka_broker
from infra.stack.postgres import postgres
from infra.stack.redis_server import redis_server

# Name of the part -> how it is made, and the setting that says where it is.
PARTS: dict[str, tuple[Callable[[Path, int], tuple[Part, str]], str]] = {
    "postgres": (postgres, "DATABASE_URL"),
    "redis": (redis_server, "REDIS_URL"),
    "kafka": (kafka_broker, "KAFKA_BOOTSTRAP_SERVERS"),
}


@dataclass
class Stack:
    """Parts keep their ports for the life of this object, however often they are started."""

    folder: Path
    parts: dict[str, Part] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)

    def env(self) -> dict[str, str]:
        """What a Penstock process needs in its environment to find this stack."""
        return {PARTS[name][1]: url for name, url in self.urls.items()}

    def start(self) -> None:
        """Start all, wait until each is ready; when one fails none is left. Raises PartFailed."""
        try:
            for part in self.parts.values():
                part.spawn()
            for part in self.parts.values():
                part.await_ready()
        except BaseException:
            self.kill()
            raise

    def end(self) -> None:
        """Stop all in order, Postgres last."""
        for part in sorted(self.parts.values(), key=lambda p: p.stop_rank):
            part.end()

    def kill(self) -> None:
        for part in self.parts.values():
            part.kill()


def embedded(
    data_dir: Path, *, names: Iterable[str] = tuple(PARTS), ports: dict[str, int] | None = None
) -> Stack:
    """A stack in `data_dir`, not started yet, on free ports of 127.0.0.1 or on the given ones."""
    stack = Stack(open_folder(data_dir))
    for name in names:
        make, _ = PARTS[name]
        stack.ports[name] = (ports or {}).get(name) or free_port()
        stack.parts[name], stack.urls[name] = make(stack.folder, stack.ports[name])
    return stack
