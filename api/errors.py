"""The one error envelope, and the one table from category to HTTP status.

{"error": {"message": str, "type": str, "param": str | null, "code": str | null}}
"""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.routing import Match

from core import errors
from core.jobs.kinds import KINDS

log = structlog.get_logger(__name__)

_STATUS: dict[type[errors.PenstockError], tuple[int, str]] = {
    errors.InvalidInput: (422, "invalid_request_error"),
    errors.TooLarge: (413, "invalid_request_error"),
    errors.Unauthenticated: (401, "authentication_error"),
    errors.Forbidden: (403, "permission_error"),
    errors.NotFound: (404, "invalid_request_error"),
    errors.Conflict: (409, "invalid_request_error"),
    errors.TooMany: (429, "rate_limit_error"),
    errors.Unavailable: (503, "server_error"),
}


class ErrorBody(BaseModel):
    """`criteria`: of a model that the gate refuses, each that is failed or missing."""

    message: str
    type: str
    param: str | None
    code: str | None
    criteria: list[dict[str, Any]] | None = None


class ErrorEnvelope(BaseModel):
    """What every answer of 400 and above holds."""

    error: ErrorBody


def envelope(
    status: int,
    message: str,
    kind: str,
    *,
    param: str | None = None,
    code: str | None = None,
    headers: dict[str, str] | None = None,
    details: Mapping[str, Any] | None = None,
) -> Response:
    error = {"message": message, "type": kind, "param": param, "code": code, **(details or {})}
    body = {"error": error}
    return Response(orjson.dumps(body), status, headers, media_type="application/json")


def install(app: FastAPI) -> None:
    """Hang the handlers on the app: nothing leaves it in another shape."""
    app.add_exception_handler(errors.PenstockError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for down in (DBAPIError, PoolTimeout, RedisError, ConnectionError, TimeoutError):
        app.add_exception_handler(down, _down)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.PenstockError)
    known = next((c for c in type(error).__mro__ if c in _STATUS), None)
    status, kind = _STATUS[known] if known is not None else (500, "server_error")
    if known is errors.InvalidInput:
        status = _invalid_status(request)
    headers: dict[str, str] = {}
    if isinstance(error, errors.Conflict):
        # OpenAI's clients repeat a 409 unless told that it is final.
        headers["x-should-retry"] = "false"
    if isinstance(error, errors.TooMany):
        # Rounded up: who comes back as told must not be early.
        headers["retry-after-ms"] = str(math.ceil(error.retry_after_s * 1000))
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, errors.Unavailable):
        headers["retry-after"] = "1"
    if isinstance(error, errors.Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    return envelope(
        status, error.message, kind, param=error.param, code=error.code, headers=headers,
        details=error.details,
    )  # fmt: skip


def _invalid_status(request: Request) -> int:
    """422, but where a surface's clients know another (api/routes/openai)."""
    return int(getattr(request.state, "invalid_status", 422))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first: dict[str, Any] = error.errors()[0]
    where = [str(part) for part in first["loc"] if part not in ("body", "query", "path", "header")]
    if first["loc"][:1] == ("body",) and len(where) > 1 and where[0] in KINDS:
        # Of a spec, pydantic names first which of the kinds it read it as.
        where = where[1:]
    if str(first["type"]).startswith("union_tag"):
        where = ["kind"]
    param = ".".join(where) or None
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", "")
        return envelope(
            400, f"The body is not valid JSON: {reason}".rstrip(": "), "invalid_request_error",
            code="invalid_json",
        )  # fmt: skip
    message = first["msg"].removeprefix("Value error, ")
    if not where and first["loc"] == ("body",) and first["type"] != "value_error":
        if isinstance(error.body, bytes):
            # FastAPI leaves a body as bytes when its content type does not say JSON.
            return envelope(
                415, "Send the body as JSON, with Content-Type: application/json.",
                "invalid_request_error", code="unsupported_media_type",
            )  # fmt: skip
        message = "The body must be a JSON object."
    return envelope(
        _invalid_status(request), f"{param}: {message}" if param else message, "invalid_request_error",
        param=param, code=str(first["type"]),
    )  # fmt: skip


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "_")
    kind = "server_error" if error.status_code >= 500 else "invalid_request_error"
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["allow"] = ", ".join(sorted(_methods(request)))
    return envelope(error.status_code, str(error.detail), kind, code=code, headers=headers)


def _methods(request: Request) -> set[str]:
    """What this path takes: Starlette names the methods of the first route only."""
    routes = [r for r in request.app.routes if r.matches(request.scope)[0] is not Match.NONE]
    return {method for route in routes for method in route.methods or ()}


async def _down(_: Request, error: Exception) -> Response:
    log.warning("a dependency is away", error=repr(error))
    return envelope(
        503, "A dependency is away for the moment; try again.", "server_error",
        code="unavailable", headers={"retry-after": "1"},
    )  # fmt: skip


def unknown() -> Response:
    """What a client hears of an error that nobody foresaw (api/middleware.py)."""
    return envelope(500, "An internal error; it is in the log.", "server_error", code="internal")
