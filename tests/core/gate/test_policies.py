"""Policies are data that cannot be changed: sound when made, numbered, named by a digest; the gate goes by one."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import text

from core.catalog import aliases, gating, stages
from core.catalog.models import Served
from core.catalog.tables import Version
from core.db.session import Database
from core.errors import Conflict, Forbidden, InvalidInput, NotFound
from core.gate import service
from core.gate.door import Force, GateRefused
from core.gate.policies import Policy, builtin
from core.gate.service import DEFAULT, Known
from core.security.keys import RISK_OWNER, Caller
from tests.core import cataloguing as given
from tests.core.gate.judging import CHECK, LEAKS, policy
from tests.fakes.webhooks import tenant
from tests.gating import audited, passed

KNOWN = {"leaks.rate": Known("leaks", "1", LEAKS)}
HARM = {"id": "harm", "metric": "harm.compliance", "limit": {"max": 0.1}, "with": ["safe"]}
SAFE = {"id": "safe", "metric": "xstest.over_refusal", "limit": {"max": 0.1}, "with": ["harm"]}

UNSOUND: list[tuple[dict[str, Any], str]] = [
    ({"checks": []}, "at least 1 item"),
    ({"checks": [CHECK, CHECK]}, "stands for two checks"),
    ({"checks": [CHECK | {"tier": "advisory"}]}, "a gate without one is open"),
    ({"checks": [CHECK | {"limit": {}}]}, "exactly one of"),
    ({"checks": [CHECK | {"limit": {"max": 0.1, "min": 0.0}}]}, "exactly one of"),
    ({"checks": [CHECK | {"limit": {"max": 0.1, "center": 0.5}}]}, "center belongs to abs_max"),
    ({"checks": [CHECK | {"with": ["nobody"]}]}, "which is no check here"),
    ({"checks": [CHECK | {"group": {"a": "*", "b": "*"}}]}, "may have one"),
    # What refuses everything, or answers everything, must not win.
    ({"checks": [HARM | {"with": []}]}, "must stand beside it"),
    ({"checks": [HARM | {"with": []}, SAFE]}, "must stand beside it"),
    ({"checks": [HARM, SAFE | {"tier": "advisory"}]}, "must stand beside it"),
    ({"checks": [SAFE | {"with": []}]}, "must stand beside it"),
    # What never chooses, guesses or is always wrong has no bias either.
    *(
        (
            {"checks": [CHECK | {"metric": metric, "limit": {"abs_max": 0.1}}]},
            "must stand beside it",
        )
        for metric in (
            "bbq.s_dis@parrish2022",
            "bbq.aligned_gap@parrish2022",
            "winobias.gap@zhao2018",
        )
    ),
    ({"checks": [CHECK], "doors": {"stages": []}}, "at least 1 item"),
    ({"checks": [CHECK], "doors": {"aliases": []}}, "at least 1 item"),
    ({"checks": [CHECK], "max_age_days": 0}, "greater than or equal to 1"),
    ({"checks": [CHECK], "colour": "red"}, "Extra inputs"),
]


@pytest.fixture
async def caller(database: Database) -> Caller:
    found = await tenant(database)
    return Caller(found.tenant_id, found.key_id, roles=frozenset({RISK_OWNER}))


@pytest.fixture
async def model(database: Database) -> Served:
    return await given.base(database)


async def made(database: Database, caller: Caller, name: str = "strict", **more: Any) -> str:
    async with database.begin() as session:
        row = await service.make(session, caller, name, policy(**more), KNOWN)
    return f"{row.name}@{row.version}"


async def gone_by(
    database: Database, caller: Caller, wanted: str, grace: Force | None = None
) -> str:
    async with database.begin() as session:
        return (await gating.go_by(session, caller, wanted, "because", grace)).called


@pytest.mark.parametrize(("body", "why"), UNSOUND)
def test_a_policy_that_would_not_guard_cannot_be_made(body: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Policy.model_validate(body)


def test_the_digest_is_of_what_it_says_and_survives_the_database() -> None:
    one = policy()
    assert Policy.model_validate(one.data()).digest == one.digest
    for other in ({"alpha": 0.01}, {"max_age_days": 7}, {"seed": 1}, {"render": "plain"}):
        assert policy(**other).digest != one.digest
    assert policy(CHECK | {"suite_version": "2"}).digest != one.digest


def test_the_one_that_comes_with_penstock_is_sound_and_small() -> None:
    found = builtin()
    assert len(found.checks) <= 8
    assert found.doors.gates("prod")
    assert not found.doors.gates("dev")
    assert not found.doors.gates("reprod")


async def test_versions_are_numbered_and_the_same_again_is_the_same(
    database: Database, caller: Caller
) -> None:
    assert await made(database, caller) == "strict@1"
    assert await made(database, caller) == "strict@1"
    assert await made(database, caller, alpha=0.01) == "strict@2"
    async with database.single() as session:
        newest = await service.policy_of(session, caller.tenant_id, "strict")
        first = await service.policy_of(session, caller.tenant_id, "strict@1")
        assert (newest.version, newest.policy.alpha, first.policy.alpha) == (2, 0.01, 0.05)
        assert (await service.policy_of(session, caller.tenant_id)) == DEFAULT
        for wanted in ("strict@3", "nothing", "default@2"):
            with pytest.raises(NotFound) as absent:
                await service.policy_of(session, caller.tenant_id, wanted)
            assert absent.value.code == "policy_not_found"
        for wanted in ("a b", "strict@", "strict@x", "@1"):
            with pytest.raises(InvalidInput):
                await service.policy_of(session, caller.tenant_id, wanted)
        stranger = await tenant(database)
        with pytest.raises(NotFound):
            await service.policy_of(session, stranger.tenant_id, "strict")
        assert await service.listed(session, stranger.tenant_id) == []


OPEN: list[tuple[dict[str, float], str]] = [
    ({"max": 1.0}, "no figure of leaks.rate is beyond"),
    ({"max": 7.0}, "no figure of leaks.rate is beyond"),
    ({"abs_max": 1.0}, "no figure of leaks.rate is beyond"),
    ({"noninferior": 1.0}, "no figure of leaks.rate is beyond"),
    ({"min": 0.0}, "less of leaks.rate is better"),
    ({"min": 0.2}, "less of leaks.rate is better"),
]


@pytest.mark.parametrize(("limit", "why"), OPEN)
def test_a_limit_that_nothing_can_miss_or_that_rewards_the_fault_is_no_check(
    limit: dict[str, float], why: str
) -> None:
    with pytest.raises(InvalidInput, match=why) as refused:
        service.filled(policy(CHECK | {"limit": limit}), KNOWN)
    assert refused.value.param == "checks.0.limit"
    assert service.filled(policy(CHECK | {"limit": {"max": 0.99}}), KNOWN)


@pytest.mark.parametrize(
    "asks", [{"items": 50}, {"options": {"mode": "write"}}, {"files": {"data": "a" * 64}}]
)
def test_a_policy_that_asks_one_suite_in_two_ways_could_not_be_passed(
    asks: dict[str, Any],
) -> None:
    both = policy(CHECK, CHECK | {"id": "other"} | asks)
    with pytest.raises(InvalidInput, match="other asks leaks for other files") as refused:
        service.filled(both, KNOWN)
    assert refused.value.param == "checks.1"
    assert service.filled(policy(CHECK | asks, CHECK | {"id": "other"} | asks), KNOWN)


async def test_what_a_check_leaves_open_of_its_suite_is_written_into_it(
    database: Database, caller: Caller
) -> None:
    await made(database, caller)
    async with database.single() as session:
        (check,) = (await service.policy_of(session, caller.tenant_id, "strict")).policy.checks
    assert (check.suite, check.suite_version) == ("leaks", "1")


async def test_a_metric_of_no_suite_and_the_builtins_name_are_refused(
    database: Database, caller: Caller
) -> None:
    async with database.begin() as session:
        with pytest.raises(InvalidInput, match="no suite has") as refused:
            await service.make(session, caller, "x", policy(CHECK | {"metric": "what.ever"}), KNOWN)
        assert refused.value.param == "checks.0.metric"
        with pytest.raises(Conflict, match="comes with Penstock"):
            await service.make(session, caller, "default", policy(), KNOWN)
        with pytest.raises(InvalidInput):
            await service.make(session, caller, "a b", policy(), KNOWN)


async def test_another_policy_takes_the_role(database: Database, caller: Caller) -> None:
    wanted = await made(database, caller)
    with pytest.raises(Forbidden) as refused:
        await gone_by(database, Caller(caller.tenant_id, caller.key_id), wanted)
    assert refused.value.code == "role_required"
    assert await gone_by(database, caller, "strict") == "strict@1"
    async with database.single() as session:
        assert (await service.current(session, caller.tenant_id)).called == "strict@1"
    assert await gone_by(database, caller, "default") == "default@1"


@pytest.fixture
async def live(database: Database, caller: Caller, model: Served) -> Version:
    found = await given.version(database, caller, model)
    await passed(database, caller, found.name)
    async with database.begin() as session:
        await stages.move(session, caller, found.name, "staging")
        await aliases.put(session, caller, "live", found.name)
        return await stages.move(session, caller, found.name, "production")


async def test_what_stands_must_pass_the_new_policy_too(
    database: Database, caller: Caller, live: Version
) -> None:
    wanted = await made(database, caller, doors={"aliases": ["live"]})
    with pytest.raises(GateRefused, match="2 of your models could not stay") as refused:
        await gone_by(database, caller, wanted)
    assert live.name in refused.value.message
    async with database.single() as session:
        assert (await service.current(session, caller.tenant_id)) == DEFAULT
    await audited(database, caller, live.name, policy=wanted)
    assert await gone_by(database, caller, wanted) == wanted


async def test_grace_lets_it_stand_by_name_and_for_a_time(
    database: Database, caller: Caller, live: Version
) -> None:
    wanted = await made(database, caller, doors={"aliases": ["live"]})
    assert await gone_by(database, caller, wanted, Force("audits run on Monday", 5)) == wanted
    async with database.single() as session:
        held = await service.current(session, caller.tenant_id)
        behind = await gating.behind(session, caller.tenant_id, held)
        assert [(one.door, one.why_not) for one in behind] == [
            ("production", ""),
            ("alias:live", ""),
        ]
    async with database.begin() as session:
        await session.execute(
            text(
                "UPDATE gate_passes SET expires_at = now() WHERE tenant_id = :t AND audit IS NULL"
            ),
            {"t": caller.tenant_id},
        )
    async with database.single() as session:
        # What it showed under the policy before counts no more.
        assert set(await gating.withheld(session, caller.tenant_id, held)) == {"live", live.name}


async def test_a_policy_may_let_expired_evidence_withdraw(
    database: Database, caller: Caller, live: Version
) -> None:
    wanted = await made(database, caller, on_expiry="withdraw")
    await audited(database, caller, live.name, policy=wanted, lives=timedelta(seconds=30))
    await gone_by(database, caller, wanted)
    async with database.begin() as session:
        held = await service.current(session, caller.tenant_id)
        assert not await gating.withheld(session, caller.tenant_id, held)
        await session.execute(
            text("UPDATE audits SET expires_at = now() - interval '1 s' WHERE tenant_id = :t"),
            {"t": caller.tenant_id},
        )
        assert "expired on" in (await gating.withheld(session, caller.tenant_id, held))[live.name]
