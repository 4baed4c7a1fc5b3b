"""The address rule: what a delivery must not reach, however it is spelled."""

import asyncio
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.webhooks import addresses
from core.webhooks.addresses import Guard, check_url, parse, refused, system_resolver
from tests.fakes.webhooks import PUBLIC, Names, settings

BAD = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "100.100.100.200", "192.0.0.8", "192.0.0.192", "192.88.99.1", "192.0.2.1",
    "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255", "168.63.129.16",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1", "2002:7f00:1::", "2001::1", "2001:db8::1", "3fff::1", "100::1", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "5f00::1",
]  # fmt: skip
GOOD = ["8.8.8.8", PUBLIC, "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001:82a::200e"]


@pytest.mark.parametrize("address", BAD)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert refused(ip_address(address))


@pytest.mark.parametrize("address", GOOD)
def test_a_public_address_is_accepted(address: str) -> None:
    assert not refused(ip_address(address))


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_gets_through_inside_an_ipv6_one(address: object) -> None:
    number = int(address)  # type: ignore[call-overload]
    for inside in (
        number,  # compatible
        0xFFFF << 32 | number,  # mapped
        0x64FF9B << 96 | number,  # NAT64
        0x2002 << 112 | number << 80,  # 6to4
        0x20010000 << 96 | number ^ 0xFFFFFFFF,  # Teredo
    ):
        assert refused(ip_address(inside.to_bytes(16)))


def test_the_operator_may_allow_networks() -> None:
    allow = (ip_network("127.0.0.0/8"), ip_network("fd00::/8"))
    assert not refused(ip_address("127.0.0.1"), allow)
    assert not refused(ip_address("fd12::1"), allow)
    assert refused(ip_address("10.0.0.1"), allow)
    assert refused(ip_address("::ffff:127.0.0.1"), allow)


def test_a_setting_that_is_no_network_is_named() -> None:
    with pytest.raises(InvalidInput, match="PENSTOCK_WEBHOOK_ALLOW_NETS"):
        addresses.guard(settings(webhook_allow_nets=["10.0.0.0/99"]))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://example.com/", "must begin with https://"),
        ("file:///etc/passwd", "must begin with https://"),
        ("gopher://example.com/", "must begin with https://"),
        ("//example.com/", "must begin with https://"),
        ("example.com", "must begin with https://"),
        ("https://user:pw@example.com/", "user or password"),
        ("https://example.com@127.0.0.1/", "user or password"),
        ("https:///path", "needs a host"),
        ("https://example.com:0/", "port between"),
        ("https://example.com:70000/", "port between"),
        ("https://example.com:x/", "not a URL"),
        ("https://exam\x00ple.com/", "not a URL"),
        ("https://0177.0.0.1/", "not a URL"),
        ("https://" + "a" * 3000, "is the most"),
    ],
)
def test_a_url_that_will_not_do_is_refused_with_the_reason(url: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as caught:
        parse(url, allow_http=False)
    assert caught.value.param == "url"


def test_a_url_comes_apart_as_the_client_will_send_it() -> None:
    assert parse("https://[2606:4700::1]:8443/a?b=c#d", allow_http=False) == (
        "https", "2606:4700::1", 8443, "[2606:4700::1]:8443", "/a?b=c",
    )  # fmt: skip
    assert parse("http://EXAMPLE.com", allow_http=True)[:4] == (
        "http", "example.com", 80, "example.com",
    )  # fmt: skip


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "127.1", "localhost", "[::1]", "[::ffff:127.0.0.1]",
     "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "169.254.169.254", "100.64.0.1", "224.0.0.1", "0"],
)  # fmt: skip
async def test_no_spelling_of_a_private_address_can_be_registered(host: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await check_url(f"https://{host}/", Guard(system_resolver))
    assert caught.value.code == addresses.REFUSED
    assert "PENSTOCK_WEBHOOK_ALLOW_NETS" in caught.value.message


async def test_one_bad_address_among_good_ones_refuses_the_name() -> None:
    names = Names(mixed_test=[[PUBLIC, "10.0.0.1"]])
    with pytest.raises(InvalidInput) as caught:
        await check_url("https://mixed.test/", Guard(names))
    assert caught.value.code == addresses.REFUSED
    assert "10.0.0.1" not in caught.value.message


async def test_a_public_name_can_be_registered() -> None:
    target = await check_url("https://good.test/x", Guard(Names(good_test=[[PUBLIC]])))
    assert (target.host, target.port) == ("good.test", 443)


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 64 + ".test", "a..b"])
async def test_a_host_that_does_not_resolve_is_refused(host: str) -> None:
    with pytest.raises(InvalidInput, match="does not resolve") as caught:
        await check_url(f"https://{host}/", Guard(system_resolver))
    assert caught.value.code == addresses.NOT_FOUND


async def test_a_name_without_any_address_is_refused() -> None:
    with pytest.raises(InvalidInput, match="has no address"):
        await check_url("https://empty.test/", Guard(Names(empty_test=[[]])))


async def test_a_resolver_that_never_answers_is_given_up() -> None:
    with pytest.raises(InvalidInput, match="did not resolve within") as caught:
        await check_url("https://slow.test/", Guard(_silent, lookup_s=0.01))
    assert caught.value.code == addresses.NOT_FOUND


async def _silent(host: str, port: int) -> list[addresses.Address]:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")
