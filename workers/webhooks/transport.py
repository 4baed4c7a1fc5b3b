"""The HTTP client for deliveries: it dials the very address that was checked, and nothing else.

It is httpcore without httpx on top: that follows no redirects, trusts no proxy variables, keeps no
cookies and decompresses nothing, so none of them has to be switched off.
"""

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpcore
import httpx
import structlog

from core.errors import InvalidInput
from core.webhooks import addresses
from core.webhooks.addresses import Guard, Target
from core.webhooks.retry import Answer

log = structlog.get_logger(__name__)

MAX_READ = 64 * 1024
MAX_KEPT = 1024
MAX_ERROR = 300
# A name with many dead addresses must not use up the whole time of a try on the first of them.
CONNECT_S = 5.0
MAX_ADDRESSES = 4


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Resolves once, checks every address, dials only those. SNI and Host stay the name's."""

    def __init__(self, rules: Guard) -> None:
        self._rules = rules
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises InvalidInput for a refused or unknown host, else the last address's error."""
        found = await addresses.checked(host, port, self._rules)
        failure: Exception | None = None
        for address in found[:MAX_ADDRESSES]:
            try:
                return await self._inner.connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        assert failure is not None  # checked() never returns an empty list
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - httpcore's signature
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002 - likewise
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError(f"deliveries do not go to unix sockets: {path}")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def make(rules: Guard, tls: ssl.SSLContext | None = None) -> httpcore.AsyncConnectionPool:
    """A client. Connections are not kept: each try dials an address that was checked for it."""
    return httpcore.AsyncConnectionPool(
        # Certifi's authorities, or those of SSL_CERT_FILE where a site has its own.
        ssl_context=tls or httpx.create_ssl_context(),
        max_connections=None,
        max_keepalive_connections=0,
        http2=False,
        retries=0,
        network_backend=GuardedBackend(rules),
    )


async def post(
    http: httpcore.AsyncConnectionPool,
    target: Target,
    headers: Mapping[str, str],
    body: bytes,
    *,
    total_s: float,
) -> Answer:
    """One POST, at most `total_s` seconds from the lookup to the end of the answer. Never raises.

    An HTTP client's timeouts are for each read: a receiver that drips a byte a second passes them.
    """
    try:
        async with asyncio.timeout(total_s):
            return await _post(http, target, headers, body)
    except TimeoutError:
        return Answer(None, f"no complete answer within {total_s:g} s")
    except InvalidInput as error:
        log.warning("delivery refused to dial", host=target.host, code=error.code)
        return Answer(None, error.message)
    except (
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.TimeoutException,
        OSError,
    ) as error:
        return Answer(None, _clean(f"{type(error).__name__}: {error}", MAX_ERROR))


async def _post(
    http: httpcore.AsyncConnectionPool, target: Target, headers: Mapping[str, str], body: bytes
) -> Answer:
    sent = {
        "host": target.authority,
        "content-type": "application/json",
        "accept-encoding": "identity",
        "user-agent": "Penstock-Webhooks/1",
        "connection": "close",
        **headers,
    }
    url = httpcore.URL(
        scheme=target.scheme.encode(), host=target.host.encode(), port=target.port,
        target=target.path.encode(),
    )  # fmt: skip
    async with http.stream(
        "POST", url, headers=list(sent.items()), content=body,
        extensions={"timeout": {"connect": CONNECT_S}},
    ) as response:  # fmt: skip
        read = b""
        async for chunk in response.aiter_stream():
            read += chunk
            if len(read) >= MAX_READ:
                break
        status: int = response.status
        return Answer(
            status=status,
            error=None if 200 <= status < 300 else _reason(status),
            response=_clean(read[:MAX_KEPT].decode(errors="replace"), MAX_KEPT),
            retry_after_s=retry_after(response.headers),
        )


def _reason(status: int) -> str:
    if 300 <= status < 400:
        return f"answered {status}; redirects are not followed: register the final URL"
    return f"answered {status}"


def _clean(text: str, limit: int) -> str:
    # Postgres text holds no NUL.
    return text.replace("\0", "")[:limit]


def retry_after(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Seconds that Retry-After asks for; None when it is absent or not understood.

    A date is taken relative to the answer's own Date: the receiver's clock, not ours, wrote both.
    """
    found = {name.lower(): value.decode("latin-1").strip() for name, value in headers}
    asked = found.get(b"retry-after")
    if asked is None:
        return None
    if asked.isascii() and asked.isdigit():
        return float(asked[:9])
    try:
        pause = parsedate_to_datetime(asked) - parsedate_to_datetime(found.get(b"date", ""))
    except (ValueError, TypeError):
        return None
    return max(pause, timedelta()).total_seconds()
