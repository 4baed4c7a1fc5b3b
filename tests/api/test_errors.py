"""Bad input: refused before 202, in the one envelope, naming the field; and no job is left behind."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from core.config import Settings
from core.ids import new_id
from tests import asking
from tests.asking import JOBS, SPEC
from tests.rig import Rig

Client = httpx.AsyncClient
JSON = {"content-type": "application/json"}
LIMIT = int(Settings.model_fields["max_body_bytes"].default)

# One fault each: the fields that are changed, and the field that the error must name.
REFUSED: list[tuple[dict[str, Any], str | None]] = [
    ({"kind": "unheard-of"}, "kind"),
    ({"kind": None}, "kind"),
    ({"model": "unheard-of"}, "model"),
    ({"model": 7}, "model"),
    ({"model": "m" * 257}, "model"),
    ({"prompt": "word " * 3000}, "prompt"),
    ({"prompt": ""}, None),
    ({"prompt": 7}, "prompt"),
    ({"prompt": "NUL \0 inside"}, "prompt"),
    ({"prompt": None}, None),
    ({"messages": [{"role": "user", "content": "both"}]}, None),
    ({"prompt": None, "messages": []}, None),
    ({"prompt": None, "messages": [{"role": "king", "content": "x"}]}, "messages.0.role"),
    ({"prompt": None, "messages": [{"role": "user"}]}, "messages.0.content"),
    ({"prompt": None, "messages": [{"role": "user", "content": "\0"}]}, "messages.0.content"),
    ({"prompt": None, "messages": "hello"}, "messages"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 2047}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"max_tokens": "5"}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"max_tokens": 10**30}, "max_tokens"),
    ({"max_tokens": None}, "max_tokens"),
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": "0.5"}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"top_p": 1.01}, "top_p"),
    ({"top_k": -2}, "top_k"),
    ({"top_k": []}, "top_k"),
    ({"seed": 2**63}, "seed"),
    ({"seed": "lucky"}, "seed"),
    ({"stop": "not a list"}, "stop"),
    ({"stop": [""]}, "stop.0"),
    ({"stop": ["a"] * 17}, "stop"),
    ({"stop": ["s" * 257]}, "stop.0"),
    ({"stop": ["\0"]}, "stop"),
    ({"priority": "royal"}, "priority"),
    ({"completion_window": "soon"}, "completion_window"),
    ({"completion_window": "31d"}, "completion_window"),
    ({"completion_window": "0s"}, "completion_window"),
    ({"completion_window": 60}, "completion_window"),
    ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
    ({"metadata": {"k" * 65: ""}}, f"metadata.{'k' * 65}.[key]"),
    ({"metadata": {"k": "v" * 513}}, "metadata.k"),
    ({"metadata": {"k": 1}}, "metadata.k"),
    ({"metadata": {"k": "\0"}}, "metadata"),
    ({"metadata": []}, "metadata"),
    ({"temprature": 1}, "temprature"),
]


async def _no_job(client: Client) -> None:
    assert (await client.get(JOBS)).json()["data"] == []


@pytest.mark.parametrize(("fields", "param"), REFUSED, ids=lambda v: str(v)[:40])
async def test_a_wrong_field_is_named(
    client: Client, fields: dict[str, Any], param: str | None
) -> None:
    error = asking.error(await client.post(JOBS, json=SPEC | fields), 422, param)
    assert error["type"] == "invalid_request_error"
    assert error["code"]
    if param is None:  # two fields are at fault together: the message names both
        assert "prompt" in error["message"]
        assert "messages" in error["message"]
    await _no_job(client)


async def test_an_error_says_what_to_do(client: Client) -> None:
    unknown = asking.error(await client.post(JOBS, json=SPEC | {"model": "no"}), 422, "model")
    assert unknown["code"] == "model_not_found"
    assert "Models: " in unknown["message"]
    long = asking.error(await client.post(JOBS, json=SPEC | {"max_tokens": 2047}), 422)
    assert long["code"] == "context_length_exceeded"
    assert "at most" in long["message"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"kind": "inference", ', "invalid_json"),
        (b"hello", "invalid_json"),
        (b"\xff\xfe", None),
        (b'{"a": "\xff"}', None),
        (b"[" * 100_000, None),
        (b'{"seed": ' + b"9" * 5000 + b"}", None),
    ],
    ids=["cut off", "a word", "not UTF-8", "not UTF-8 inside", "deep", "endless number"],
)
async def test_what_is_not_json_is_a_bad_request(
    client: Client, body: bytes, code: str | None
) -> None:
    error = asking.error(await client.post(JOBS, content=body, headers=JSON), 400)
    assert code is None or error["code"] == code
    await _no_job(client)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b'"text"', b"7", b"{}", b'{"kind": "inference"}',
        b"[" * 900 + b"]" * 900,
        b'{"kind": "inference", "prompt": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"kind": "inference", "prompt": "x", "temperature": NaN}',
        b'{"kind": "inference", "prompt": "x", "temperature": Infinity}',
        b'{"kind": "inference", "prompt": "x", "temperature": 1e999}',
        rb'{"kind": "inference", "prompt": "\ud800"}',
        rb'{"kind": "inference", "prompt": "x", "metadata": {"\ud800": "x"}}',
        rb'{"kind": "inference", "prompt": "x", "metadata": {"x": "\udfff"}}',
        rb'{"kind": "inference", "prompt": "x", "\ud800": 1}',
        rb'{"kind": "\ud800", "prompt": "x"}',
        rb'{"kind": "inference", "model": "\udfff", "prompt": "x"}',
        b'{"kind": "inference", "prompt": "x", "__proto__": {}, "constructor": 1}',
    ],
    ids=lambda body: body[:60].decode(),
)  # fmt: skip
async def test_json_of_the_wrong_shape_is_refused(client: Client, body: bytes) -> None:
    error = asking.error(await client.post(JOBS, content=body, headers=JSON), 422)
    # What came in wrong must not go out wrong: the answer is valid UTF-8 JSON without half characters.
    json.dumps(error, ensure_ascii=False).encode()
    await _no_job(client)


@pytest.mark.parametrize("sort", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_another_content_type_is_told_which_one_to_send(client: Client, sort: str) -> None:
    headers = {"content-type": sort} if sort else {}
    answer = await client.post(JOBS, content=json.dumps(SPEC).encode(), headers=headers)
    error = asking.error(answer, 415)
    assert "application/json" in error["message"]
    await _no_job(client)


async def test_an_empty_body_is_told_what_to_send(client: Client) -> None:
    error = asking.error(await client.post(JOBS), 422)
    assert "JSON" in error["message"]


async def test_a_body_over_the_limit_is_refused(client: Client) -> None:
    whole = json.dumps(SPEC | {"prompt": "x" * LIMIT}).encode()
    declared = await client.post(JOBS, content=whole, headers=JSON)
    assert asking.error(declared, 413)["code"] == "body_too_large"

    async def parts() -> AsyncIterator[bytes]:
        for begin in range(0, len(whole), 65536):
            yield whole[begin : begin + 65536]

    answer = await client.post(JOBS, content=parts(), headers=JSON)
    assert asking.error(answer, 413)["code"] == "body_too_large"
    await _no_job(client)


async def test_unknown_paths_and_methods_have_the_envelope(client: Client) -> None:
    for path in (
        "/",
        "/v2/jobs",
        "/v1/jobs/",
        "/v1/jobs//events",
        "/docs",
        "/v1/%00",
        "/v1/job%ff",
    ):
        asking.error(await client.get(path), 404)
    answer = await client.delete(JOBS)
    assert asking.error(answer, 405)["code"] == "method_not_allowed"
    assert answer.headers["allow"] == "GET, POST"
    answer = await client.get("/generate")
    assert asking.error(answer, 405)["code"] == "method_not_allowed"
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "job_id", ["job_x", "job_" + "i" * 26, "x", "job_%00", "%ff", "..%2fhealth", "job_" + "0" * 27]
)
async def test_an_impossible_job_id_is_refused_by_name(client: Client, job_id: str) -> None:
    for path in ("", "/events", "/stream"):
        answer = await client.get(f"{JOBS}/{job_id}{path}")
        assert answer.status_code in (404, 422)
        error = asking.error(answer, answer.status_code)
        if answer.status_code == 422:
            assert error["param"] == "job_id"


# A job that nobody has.
NOBODYS = f"{JOBS}/job_01m8mk96y6t6dr2jvzxexzh5ax"
WAYS = [
    ("POST", JOBS), ("GET", JOBS), ("GET", NOBODYS), ("POST", "/generate"),
    ("GET", f"{NOBODYS}/stream"), ("GET", f"{NOBODYS}/events"), ("POST", f"{NOBODYS}/cancel"),
    ("GET", "/metrics"), ("GET", "/openapi.json"),
    ("GET", "/v1/webhook_endpoints"), ("POST", "/v1/webhook_endpoints"),
    ("POST", "/v1/files"), ("GET", "/v1/files"), ("GET", "/v1/files/x/content"),
    ("POST", "/v1/uploads"), ("POST", "/v1/uploads/x/parts"), ("POST", "/v1/uploads/x/complete"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), WAYS)
async def test_every_route_but_health_needs_a_key(rig: Rig, method: str, path: str) -> None:
    presented: list[dict[str, Any]] = [
        {}, {"authorization": ""}, {"authorization": "Bearer"},
        {"authorization": "Bearer sk-penstock-wrong"}, {"authorization": "Basic dXNlcjpwYXNz"},
        {"authorization": f"Bearer sk-penstock-{new_id('key')[4:]}-{'x' * 43}"},
        {"authorization": b"Bearer \xff\x80"}, {"authorization": "Bearer " + "x" * 5000},
    ]  # fmt: skip
    async with Client(base_url=rig.base_url, trust_env=False) as nobody:
        for headers in presented:
            answer = await nobody.request(method, path, headers=headers)
            error = asking.error(answer, 401)
            assert error["type"] == "authentication_error"
            assert error["code"] == "invalid_api_key"
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_the_secret_of_another_key_does_not_open(rig: Rig) -> None:
    one, other = await rig.key(new_id("t")), await rig.key(new_id("t"))
    prefix = "-".join(one.split("-")[:3])
    secret = other.split("-", 3)[3]
    async with rig.client(f"{prefix}-{secret}") as mixed:
        asking.error(await mixed.get(JOBS), 401)


async def test_a_request_id_is_echoed_or_made(client: Client) -> None:
    given = await client.get(JOBS, headers={"x-request-id": "mine-1"})
    assert given.headers["x-request-id"] == "mine-1"
    for bad in ("", "x" * 129, "two words", "a\tb"):
        made = await client.get(JOBS, headers={"x-request-id": bad})
        assert made.headers["x-request-id"].startswith("req_")
    refused = await client.post(JOBS, json={}, headers={"x-request-id": "mine-2"})
    assert (refused.status_code, refused.headers["x-request-id"]) == (422, "mine-2")
