"""A process's own small HTTP side: /metrics, /health/live and /health/ready, from a thread."""

import threading
from collections.abc import Callable
from wsgiref.simple_server import WSGIRequestHandler, make_server

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from core.config import Settings

# Each check answers None when well, else what is wrong.
Checks = dict[str, Callable[[], str | None]]


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """A scrape every few seconds is no news."""


def serve(settings: Settings, checks: Checks) -> None:
    """Serve for the life of the process; nothing when metrics_port is 0."""
    if not settings.metrics_port:
        return

    def answer(environ: dict[str, object], start: Callable[..., object]) -> list[bytes]:
        path = environ.get("PATH_INFO")
        if path == "/metrics":
            start("200 OK", [("Content-Type", CONTENT_TYPE_LATEST)])
            return [generate_latest()]
        if path in ("/health/live", "/health/ready"):
            wrong = {name: check() for name, check in checks.items()} if path.endswith("y") else {}
            bad = {name: what for name, what in wrong.items() if what is not None}
            state = {name: wrong[name] or "ok" for name in wrong}
            start(
                "503 Service Unavailable" if bad else "200 OK",
                [("Content-Type", "application/json")],
            )
            return [orjson.dumps({"status": "unavailable" if bad else "ok", "checks": state})]
        start("404 Not Found", [("Content-Type", "text/plain")])
        return [b"try /metrics, /health/live or /health/ready\n"]

    server = make_server(settings.metrics_host, settings.metrics_port, answer, handler_class=_Quiet)
    threading.Thread(target=server.serve_forever, name="status", daemon=True).start()
