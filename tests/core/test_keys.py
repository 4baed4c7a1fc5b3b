"""API keys: shown once, stored hashed, refused with the same words whatever is wrong."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from core.config import MAX_RATE
from core.db.session import Database
from core.errors import InvalidInput, NotFound, Unauthenticated
from core.ids import new_id
from core.security import keys
from core.security.keys import Rate


async def _made(database: Database, tenant: str) -> tuple[str, str, str]:
    """(key id, tenant id, key)"""
    async with database.begin() as session:
        row, key = await keys.create(session, tenant=tenant, name="test")
    return row.id, row.tenant_id, key


async def _refusal(database: Database, presented: str) -> str:
    async with database.begin() as session:
        with pytest.raises(Unauthenticated) as refused:
            await keys.authenticate(session, presented)
    return refused.value.message


async def test_a_key_opens_its_tenant_and_its_secret_is_nowhere(database: Database) -> None:
    tenant = new_id("t")
    one, other = await _made(database, tenant), await _made(database, tenant)
    assert one[1] == other[1], "the same name is the same tenant"
    assert one[2] != other[2]
    async with database.begin() as session:
        caller = await keys.authenticate(session, one[2])
        rows = (await session.execute(text("SELECT k::text FROM api_keys k"))).scalars().all()
    assert (caller.key_id, caller.tenant_id) == one[:2]
    secret = one[2].removeprefix(keys.PREFIX).partition("-")[2]
    assert len(secret) >= 43
    assert not any(secret in row for row in rows)


async def test_what_does_not_open_is_refused_with_the_same_words(database: Database) -> None:
    one_id, _, one = await _made(database, new_id("t"))
    _, _, other = await _made(database, new_id("t"))
    body, _, secret = one.removeprefix(keys.PREFIX).partition("-")
    wrong = [
        "", "-", keys.PREFIX, one[:-1], one + "x", one.upper(), secret, body,
        f"{keys.PREFIX}{body}-", f"{keys.PREFIX}{body}-{other.removeprefix(keys.PREFIX)}",
        f"{keys.PREFIX}{new_id('key')[4:]}-{secret}",
    ]  # fmt: skip
    said = {await _refusal(database, presented) for presented in wrong}
    async with database.begin() as session:
        await keys.revoke(session, one_id)
    said.add(await _refusal(database, one))
    assert len(said) == 1


async def test_a_key_is_revoked_once(database: Database) -> None:
    key_id, _, _ = await _made(database, new_id("t"))
    async with database.begin() as session:
        await keys.revoke(session, key_id)
    for gone in (key_id, new_id("key")):
        async with database.begin() as session:
            with pytest.raises(NotFound) as refused:
                await keys.revoke(session, gone)
        assert refused.value.param == "key_id"
    async with database.begin() as session:
        listed = {key.id: key.revoked_at for key, _ in await keys.listed(session)}
    assert listed[key_id] is not None


@pytest.mark.parametrize(
    ("tenant", "name", "param"),
    [("", "x", "tenant"), ("t" * 65, "x", "tenant"), ("t", "", "name"), ("t", "n" * 65, "name")],
)
async def test_names_have_1_to_64_characters(
    database: Database, tenant: str, name: str, param: str
) -> None:
    async with database.begin() as session:
        with pytest.raises(InvalidInput) as refused:
            await keys.create(session, tenant=tenant, name=name)
    assert refused.value.param == param


async def test_a_caller_brings_the_limits_of_its_key_and_tenant(database: Database) -> None:
    tenant = new_id("t")
    async with database.begin() as session:
        row, key = await keys.create(session, tenant=tenant, name="test", rate=Rate(60))
        caller = await keys.authenticate(session, key)
    assert (caller.rate, caller.tenant_rate) == (Rate(60, None), Rate(None, None))
    async with database.begin() as session:
        await keys.limit_key(session, row.id, {"tokens": 0})
        await keys.limit_tenant(session, tenant, {"requests": 100, "tokens": 5000})
        caller = await keys.authenticate(session, key)
    assert (caller.rate, caller.tenant_rate) == (Rate(60, 0), Rate(100, 5000))
    async with database.begin() as session:
        await keys.limit_key(session, row.id, {"requests": None})
        caller = await keys.authenticate(session, key)
        listed = await keys.tenants(session)
    assert [(t.tokens_per_minute, n) for t, n in listed if t.name == tenant] == [(5000, 1)]
    assert caller.rate == Rate(None, 0)


@pytest.mark.parametrize("value", [-1, MAX_RATE + 1])
async def test_what_is_no_rate_is_refused(database: Database, value: int) -> None:
    tenant = new_id("t")
    async with database.begin() as session:
        with pytest.raises(InvalidInput) as refused:
            await keys.create(session, tenant=tenant, name="test", rate=Rate(tokens=value))
        assert refused.value.param == "tokens_per_minute"
        row, _ = await keys.create(session, tenant=tenant, name="test")
        with pytest.raises(InvalidInput) as refused:
            await keys.limit_key(session, row.id, {"requests": value})
        assert refused.value.param == "requests_per_minute"
        with pytest.raises(InvalidInput):
            await keys.limit_tenant(session, tenant, {"requests": value})


async def test_nobody_is_limited_who_is_not_there(database: Database) -> None:
    async with database.begin() as session:
        row, _ = await keys.create(session, tenant=new_id("t"), name="test")
        await keys.revoke(session, row.id)
        for gone in (row.id, new_id("key")):
            with pytest.raises(NotFound) as refused:
                await keys.limit_key(session, gone, {"requests": 1})
            assert refused.value.param == "key_id"
        with pytest.raises(NotFound) as refused:
            await keys.limit_tenant(session, new_id("t"), {"requests": 1})
        assert refused.value.param == "tenant"


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(presented=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=200))
async def test_nothing_that_is_made_up_opens(database: Database, presented: str) -> None:
    assert await _refusal(database, presented)
