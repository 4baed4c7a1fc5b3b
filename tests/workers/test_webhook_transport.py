"""The guarded client against receivers that misbehave and resolvers that lie."""

import ssl
from ipaddress import ip_network
from pathlib import Path
from subprocess import run

import httpcore
import pytest

from core.webhooks.addresses import Guard, Resolver, parse, system_resolver
from core.webhooks.retry import Answer
from tests.fakes.receiver import Behave, Receiver, drip, flood, garbage, receiver, reply, reset
from tests.fakes.webhooks import PUBLIC, Names
from workers.webhooks import transport
from workers.webhooks.transport import MAX_READ, GuardedBackend, retry_after


def _rules(resolve: Resolver = system_resolver, *nets: str) -> Guard:
    allow = tuple(ip_network(net) for net in nets or ("127.0.0.0/8",))
    return Guard(resolve, allow, allow_http=True)


async def _post(
    url: str, rules: Guard | None = None, *, total_s: float = 10, tls: ssl.SSLContext | None = None
) -> Answer:
    async with transport.make(rules or _rules(), tls) as http:
        target = parse(url, allow_http=True)
        return await transport.post(http, target, {"webhook-id": "evt_1"}, b"{}", total_s=total_s)


async def test_a_good_answer_comes_back_with_its_beginning() -> None:
    async with receiver() as there:
        there.always = reply(202, b"thanks\x00\xff" + b"a" * 2000)
        answer = await _post(there.url + "?a=b")
    assert answer.accepted
    assert answer.status == 202
    assert answer.response is not None
    assert answer.response.startswith("thanks\ufffda")
    assert len(answer.response) <= 1024
    (request,) = there.requests
    assert request.line == "POST /hooks?a=b HTTP/1.1"
    assert request.headers["host"] == f"127.0.0.1:{there.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.body == b"{}"


async def test_a_redirect_is_a_failure_and_is_not_followed() -> None:
    async with receiver() as there:
        there.always = reply(302, location=there.url + "/elsewhere")
        answer = await _post(there.url)
    assert not answer.accepted
    assert answer.status == 302
    assert answer.error is not None
    assert "not followed" in answer.error
    assert len(there.requests) == 1


async def test_a_drip_feed_is_cut_by_the_total_time() -> None:
    async with receiver() as there:
        there.always = drip()
        answer = await _post(there.url, total_s=0.3)
    assert not answer.accepted
    assert answer.error == "no complete answer within 0.3 s"


async def test_silence_is_cut_by_the_total_time() -> None:
    async with receiver() as there:
        there.always = there.hang()
        answer = await _post(there.url, total_s=0.2)
    assert answer == Answer(None, "no complete answer within 0.2 s")


async def test_a_flood_is_read_no_further_than_the_cap() -> None:
    async with receiver() as there:
        there.always = flood()
        answer = await _post(there.url)
    assert answer.accepted
    assert answer.response == "x" * 1024
    assert MAX_READ == 65536


@pytest.mark.parametrize("behave", [reset(), garbage()])
async def test_a_broken_connection_is_an_answer_not_an_exception(behave: Behave) -> None:
    async with receiver() as there:
        there.always = behave
        answer = await _post(there.url)
    assert answer.status is None
    assert answer.error


async def test_a_closed_port_is_an_answer() -> None:
    async with receiver() as there:
        url = there.url
    answer = await _post(url)
    assert answer.status is None
    assert answer.error is not None
    assert answer.error.startswith("ConnectError")


async def test_tls_to_a_plain_port_is_an_answer() -> None:
    async with receiver() as there:
        answer = await _post(there.url.replace("http://", "https://"))
    assert answer.status is None
    assert answer.error
    assert there.requests == []


async def test_rebinding_is_caught_at_the_connect() -> None:
    async with receiver() as there:
        names = Names(rebind_test=[[PUBLIC], ["127.0.0.1"]])
        rules = Guard(names, (), allow_http=True)
        assert await names("rebind.test", 80)  # what registration saw was public
        answer = await _post(f"http://rebind.test:{there.port}/", rules)
    assert answer.error is not None
    assert "private, local or reserved" in answer.error
    assert "127.0.0.1" not in answer.error
    assert there.connections == 0


async def test_a_mixed_answer_is_refused_at_the_connect() -> None:
    async with receiver() as there:
        names = Names(mixed_test=[["127.0.0.1", "10.0.0.1"]])
        answer = await _post(f"http://mixed.test:{there.port}/", _rules(names))
    assert answer.error is not None
    assert "private, local or reserved" in answer.error
    assert there.connections == 0


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f000001", "127.1", "localhost", "[::ffff:127.0.0.1]"]
)
async def test_no_spelling_of_loopback_is_reached(host: str) -> None:
    async with receiver() as there:
        answer = await _post(f"http://{host}:{there.port}/", _rules(system_resolver, "10.0.0.0/8"))
    assert answer.status is None
    assert there.connections == 0


async def test_the_name_is_resolved_once_and_the_next_address_is_tried() -> None:
    async with receiver() as there:
        # Nothing listens on the first.
        names = Names(two_test=[["127.0.0.2", "127.0.0.1"], ["10.0.0.1"]])
        answer = await _post(f"http://two.test:{there.port}/", _rules(names))
    assert answer.accepted
    assert names.asked == ["two.test"]
    assert there.requests[0].headers["host"] == f"two.test:{there.port}"


async def test_an_unknown_name_is_an_answer() -> None:
    answer = await _post("http://nowhere.test/", _rules(Names()))
    assert answer.error is not None
    assert "does not resolve" in answer.error


async def test_proxy_variables_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver() as there, receiver() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert (await _post(there.url)).accepted
    assert proxy.connections == 0


async def test_unix_sockets_are_refused() -> None:
    with pytest.raises(httpcore.ConnectError, match="unix"):
        await GuardedBackend(_rules()).connect_unix_socket("/run/docker.sock")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2",
         "-subj", "/CN=hooks.test", "-addext", "subjectAltName=DNS:hooks.test"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


def _server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return context


async def _post_tls(there: Receiver, certificate: Path, host: str) -> Answer:
    trusting = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    names = Names(hooks_test=[["127.0.0.1"]], other_test=[["127.0.0.1"]])
    return await _post(f"https://{host}:{there.port}/", _rules(names), tls=trusting)


async def test_the_certificate_is_checked_against_the_name_not_the_address(
    certificate: Path,
) -> None:
    async with receiver(_server_tls(certificate)) as there:
        assert (await _post_tls(there, certificate, "hooks.test")).accepted
        assert there.requests[0].headers["host"] == f"hooks.test:{there.port}"
        wrong = await _post_tls(there, certificate, "other.test")
    assert wrong.status is None
    assert wrong.error is not None
    assert "certificate" in wrong.error.lower()


async def test_an_untrusted_certificate_is_an_answer(certificate: Path) -> None:
    async with receiver(_server_tls(certificate)) as there:
        names = Names(hooks_test=[["127.0.0.1"]])
        answer = await _post(f"https://hooks.test:{there.port}/", _rules(names))
    assert answer.status is None
    assert answer.error is not None
    assert "certificate" in answer.error.lower()
    assert there.requests == []


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "120"}, 120),
        ({"retry-after": " 0 "}, 0),
        ({"Retry-After": "9" * 400}, 999_999_999),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, None),
        (
            {
                "Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT",
                "Date": "Fri, 31 Dec 1999 23:58:59 GMT",
            },
            60,
        ),
        (
            {
                "Retry-After": "Fri, 31 Dec 1999 23:00:00 GMT",
                "Date": "Fri, 31 Dec 1999 23:58:59 GMT",
            },
            0,
        ),
        ({"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT", "Date": "today"}, None),
    ],
)
def test_retry_after_in_both_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after((k.encode(), v.encode()) for k, v in headers.items()) == seconds
