"""Which addresses deliveries may reach: one rule, applied at registration and at every connect.

Only addresses are judged, never the spelling of a host: the system resolver takes `127.1`,
`0x7f000001` and `2130706433` for 127.0.0.1, and a name may resolve to another a second later.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple, Protocol

import httpx

from core.config import Settings
from core.errors import InvalidInput

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL = 2048
LOOKUP_S = 5.0

_GLOBAL_V6 = IPv6Network("2000::/3")
# Where ipaddress.is_global of Python 3.11 says True, or may, and a delivery has no business.
_REFUSED: tuple[Network, ...] = (
    IPv4Network("192.0.0.0/24"),  # IETF protocol assignments; some clouds keep metadata there
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv4Network("168.63.129.16/32"),  # the host agent of one cloud, though in public space
    IPv6Network("2001::/23"),  # IETF protocol assignments, Teredo among them
    IPv6Network("2002::/16"),  # 6to4: carries an IPv4 address
    IPv6Network("3fff::/20"),  # documentation
)
# Lookups block, and one that was given up on still holds its thread until the resolver times out.
_lookups = ThreadPoolExecutor(32, thread_name_prefix="dns")


REFUSED = "address_refused"
NOT_FOUND = "host_not_found"


class Resolver(Protocol):
    async def __call__(self, host: str, port: int) -> list[Address]:
        """Every address of `host`. Raises OSError when there is none."""


class Target(NamedTuple):
    """A parsed URL. `authority` is the Host header, `path` includes the query."""

    scheme: str
    host: str
    port: int
    authority: str
    path: str


@dataclass(frozen=True, slots=True)
class Guard:
    """What this installation lets deliveries reach."""

    resolve: Resolver
    allow: tuple[Network, ...] = ()
    allow_http: bool = False
    lookup_s: float = LOOKUP_S


async def system_resolver(host: str, port: int) -> list[Address]:
    """The operating system's own resolver, in a thread."""
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(_lookups, _lookup, host, port)
    return list(dict.fromkeys(ipaddress.ip_address(address) for address in found))


def _lookup(host: str, port: int) -> list[str]:
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is empty or too long
        raise OSError(f"not a host name: {error}") from error
    return [str(row[4][0]) for row in rows]


def guard(settings: Settings, resolve: Resolver = system_resolver) -> Guard:
    """Raises InvalidInput when PENSTOCK_WEBHOOK_ALLOW_NETS holds what is not a network."""
    try:
        allow = tuple(ipaddress.ip_network(net) for net in settings.webhook_allow_nets)
    except ValueError as error:
        raise InvalidInput(
            f"PENSTOCK_WEBHOOK_ALLOW_NETS: {error}; write CIDRs such as 10.0.0.0/8",
            param="webhook_allow_nets",
        ) from error
    return Guard(resolve, allow, settings.webhook_allow_http)


def parse(url: str, *, allow_http: bool) -> Target:
    """Take a URL apart. Raises InvalidInput, naming the part that will not do."""
    if len(url) > MAX_URL:
        raise InvalidInput(f"url has {len(url)} characters; {MAX_URL} is the most", param="url")
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InvalidInput(f"url is not a URL: {error}", param="url") from error
    schemes = ("https", "http") if allow_http else ("https",)
    if parts.scheme not in schemes:
        raise InvalidInput(f"url must begin with {' or '.join(schemes)}://", param="url")
    if parts.userinfo:
        raise InvalidInput("url must not hold a user or password; check the signature", param="url")
    port = parts.port if parts.port is not None else (443 if parts.scheme == "https" else 80)
    if not parts.raw_host or not 1 <= port <= 65535:
        raise InvalidInput("url needs a host, and a port between 1 and 65535 if any", param="url")
    return Target(
        parts.scheme,
        parts.raw_host.decode("ascii"),
        port,
        parts.netloc.decode("ascii"),
        parts.raw_path.decode("ascii"),
    )


def refused(address: Address, allow: Sequence[Network] = ()) -> bool:
    """Whether deliveries must not reach `address`. `allow` are the operator's own exceptions."""
    if any(address in net for net in allow):
        return False
    # IPv4 inside IPv6 (mapped, NAT64, 6to4, Teredo) lies outside 2000::/3 or in _REFUSED.
    if isinstance(address, IPv6Address) and address not in _GLOBAL_V6:
        return True
    return (
        not address.is_global
        or address.is_multicast
        or address.is_reserved
        or any(address in net for net in _REFUSED)
    )


async def checked(host: str, port: int, rules: Guard) -> list[Address]:
    """The addresses of `host`, all of them fit to dial.

    Raises InvalidInput when there is none, or when even one is refused: a name with a good and a
    bad address is an attack or a mistake, and which one gets dialled would be chance. The message
    does not tell the address: it may be that of a name which only this network can resolve.
    """
    try:
        found = await rules.resolve(host, port)
    except OSError as error:
        raise _not_found(f"the host {host!r} does not resolve") from error
    if not found:
        raise _not_found(f"the host {host!r} has no address")
    if any(refused(address, rules.allow) for address in found):
        raise InvalidInput(
            f"url: the host {host!r} has an address that is private, local or reserved;"
            " deliveries go to public addresses and to the networks in PENSTOCK_WEBHOOK_ALLOW_NETS",
            param="url",
            code=REFUSED,
        )
    return found


async def check_url(url: str, rules: Guard) -> Target:
    """What registration asks of a URL. Raises InvalidInput."""
    target = parse(url, allow_http=rules.allow_http)
    try:
        async with asyncio.timeout(rules.lookup_s):
            await checked(target.host, target.port, rules)
    except TimeoutError as error:
        raise _not_found(
            f"the host {target.host!r} did not resolve within {rules.lookup_s:g} s"
        ) from error
    return target


def _not_found(what: str) -> InvalidInput:
    return InvalidInput(f"url: {what}; check the name", param="url", code=NOT_FOUND)
