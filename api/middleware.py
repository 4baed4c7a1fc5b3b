"""Around every request: its id, the limit of its body, its metrics. Plain ASGI, since streams pass here."""

import re
import time
from collections.abc import Mapping

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import limits
from api.errors import envelope, unknown
from core import telemetry
from core.ids import new_id

log = structlog.get_logger(__name__)

# A client that is still sending may be cut off before it reads the answer: so much is let in and dropped.
_DISCARD_BYTES = 64 * 1024 * 1024
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


class Around:
    """Request id, metrics and log context."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        request_id = given if _REQUEST_ID.fullmatch(given) else new_id("req")
        began, status, started, streams = time.perf_counter(), 500, False, False
        told = limits.telling()

        async def reply(message: Message) -> None:
            nonlocal status, started, streams
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers.update(told)
                streams = headers.get("content-type", "").startswith("text/event-stream")
            await send(message)

        with structlog.contextvars.bound_contextvars(request=request_id):
            try:
                await self.app(scope, receive, reply)
            except Exception:
                # Here and not in a handler of the app: that one stands outside of us, and its answer
                # would leave without the request's id.
                log.exception("unhandled error", path=scope["path"])
                if started:
                    raise
                await unknown()(scope, receive, reply)
            finally:
                # The route's pattern, never the path: one series a route, and no ids in metrics.
                route = getattr(scope.get("route"), "path", "unknown")
                telemetry.HTTP_REQUESTS.labels(scope["method"], route, status).inc()
                if not streams:
                    telemetry.HTTP_SECONDS.labels(route).observe(time.perf_counter() - began)


class BodyLimit:
    """Refuses a body over the limit with 413: at once when it says so, else when it gets there.

    `larger`: the limit of paths that take more, by a pattern of the whole path.
    """

    def __init__(self, app: ASGIApp, limit: int, larger: Mapping[str, int] | None = None) -> None:
        self.app = app
        self.limit = limit
        self._larger = [(re.compile(path), most) for path, most in (larger or {}).items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self._limit_of(scope["path"])
        headers = dict(scope["headers"])
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit:
            if b"expect" not in headers:
                await _discard(receive)
            await _refuse(limit, scope, receive, send)
            return
        seen, over, started, more = 0, False, False, True

        async def counted() -> Message:
            nonlocal seen, over, more
            message = await receive()
            seen += len(message.get("body", b""))
            more = message.get("more_body", False)
            if seen > limit:
                over = True
                return {"type": "http.disconnect"}
            return message

        async def guarded(message: Message) -> None:
            nonlocal started
            if over and not started:
                return
            started = True
            await send(message)

        await self.app(scope, counted, guarded)
        if over and not started:
            if more:
                await _discard(receive)
            await _refuse(limit, scope, receive, send)

    def _limit_of(self, path: str) -> int:
        return next((most for known, most in self._larger if known.fullmatch(path)), self.limit)


async def _refuse(limit: int, scope: Scope, receive: Receive, send: Send) -> None:
    response = envelope(
        413, f"The body is over {limit} bytes; send less.", "invalid_request_error",
        code="body_too_large", headers={"connection": "close"},
    )  # fmt: skip
    await response(scope, receive, send)


async def _discard(receive: Receive) -> None:
    seen, more = 0, True
    while more and seen < _DISCARD_BYTES:
        message = await receive()
        seen += len(message.get("body", b""))
        more = message.get("more_body", False)
