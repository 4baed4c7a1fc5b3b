"""What is in use and fails later is refused at once, withdrawn by the sweep, led back and told of."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import text

from core.catalog import aliases, models, offers, stages, standing
from core.catalog.models import Served
from core.catalog.tables import Version
from core.config import Settings
from core.db.session import Database
from core.errors import InvalidInput, Refused
from core.gate.door import Force
from core.security.keys import RISK_OWNER, Caller
from tests.core import cataloguing as given
from tests.fakes.webhooks import tenant
from tests.gating import audited, passed
from workers import gate


@pytest.fixture
async def caller(database: Database) -> Caller:
    found = await tenant(database)
    return Caller(found.tenant_id, found.key_id, roles=frozenset({RISK_OWNER}))


@pytest.fixture
async def model(database: Database) -> Served:
    return await given.base(database)


@pytest.fixture
async def live(database: Database, caller: Caller, model: Served) -> AsyncIterator[Version]:
    """In production and behind prod, with evidence of an hour ago."""
    made = await given.version(database, caller, model)
    await audited(database, caller, made.name, ago=timedelta(hours=1))
    await promoted(database, caller, made)
    await led(database, caller, made.name)
    yield made
    # Other tests sweep, too: what stands here is to be nobody's any more.
    async with database.begin() as session:
        await session.execute(
            text("DELETE FROM aliases WHERE tenant_id = :t"), {"t": caller.tenant_id}
        )


async def promoted(
    database: Database, caller: Caller, version: Version, force: Force | None = None
) -> None:
    async with database.begin() as session:
        await stages.move(session, caller, version.name, "staging")
        await stages.move(session, caller, version.name, "production", "", force)


async def led(database: Database, caller: Caller, target: str, force: Force | None = None) -> None:
    """Have prod lead there."""
    async with database.begin() as session:
        await aliases.put(session, caller, "prod", target, "", force)


async def evidence_ends(database: Database, caller: Caller, long: str) -> None:
    """So far from now; "-1 day": yesterday."""
    async with database.begin() as session:
        await session.execute(
            text(
                "UPDATE audits SET expires_at = now() + CAST(:d AS interval) WHERE tenant_id = :t"
            ),
            {"d": long, "t": caller.tenant_id},
        )


async def force_ages(database: Database, caller: Caller, long: str, version: str = "%") -> None:
    """So much time goes by for what was forced."""
    async with database.begin() as session:
        await session.execute(
            text("UPDATE gate_passes SET at = at - CAST(:d AS interval), expires_at = expires_at - CAST(:d AS interval)"
                 " WHERE tenant_id = :t AND audit IS NULL AND version_id LIKE :v"),
            {"d": long, "t": caller.tenant_id, "v": version},
        )  # fmt: skip


async def asked(database: Database, caller: Caller, name: str) -> str:
    """What answers to a name. Raises InvalidInput."""
    async with database.single() as session:
        offer = await offers.offered(session, caller.tenant_id)
    found = models.resolve(
        name, offer.models, Settings(_env_file=None), param="model", aliases=offer.aliases
    )
    offer.check(name, found.name, param="model")
    return found.name


async def told(database: Database, caller: Caller) -> list[str]:
    async with database.single() as session:
        rows = await session.scalars(
            text(
                "SELECT type || ' ' || job_id FROM outbox WHERE payload ->> 'tenant' = :t ORDER BY id"
            ),
            {"t": caller.tenant_id},
        )
    return list(rows)


async def stage_of(database: Database, version: Version) -> tuple[str, bool]:
    async with database.single() as session:
        row = await session.get_one(Version, version.id, populate_existing=True)
    return row.stage, row.withdrawn_at is not None


async def test_a_later_failure_is_refused_before_the_sweep_has_run(
    database: Database, caller: Caller, live: Version
) -> None:
    assert await asked(database, caller, "prod") == live.name
    audit = await audited(database, caller, live.name, "FAIL")
    for name in ("prod", live.name):
        with pytest.raises(InvalidInput, match=f"{audit} failed") as refused:
            await asked(database, caller, name)
        assert refused.value.code == "model_withdrawn"


async def test_the_sweep_takes_it_out_records_the_audit_and_tells_once(
    database: Database, caller: Caller, live: Version
) -> None:
    audit = await audited(database, caller, live.name, "FAIL")
    gone = [one for one in await gate.sweep(database) if one.model == live.name]
    assert {(one.door, one.audit) for one in gone} == {("production", audit), ("alias:prod", audit)}
    assert await stage_of(database, live) == ("staging", True)
    async with database.single() as session:
        moves = await stages.history(session, caller, live.name)
    assert (moves[-1].was, moves[-1].stage, moves[-1].audit) == ("production", "staging", audit)
    assert (moves[-1].key_id, moves[-1].reason) == ("gate", f"withdrawn: the audit {audit} failed")
    assert await told(database, caller) == [f"model.withdrawn {live.name}"]
    assert not [one for one in await gate.sweep(database) if one.model == live.name]
    assert await told(database, caller) == [f"model.withdrawn {live.name}"]
    # Nothing before it passes: the alias answers nobody, and the version neither, by whatever name.
    for name in ("prod", live.name):
        with pytest.raises(InvalidInput, match="taken out of use"):
            await asked(database, caller, name)


async def test_the_alias_leads_back_to_the_last_target_that_passes_now(
    database: Database, caller: Caller, model: Served, live: Version
) -> None:
    failed, newest = [await given.version(database, caller, model) for _ in range(2)]
    await passed(database, caller, failed.name)
    await audited(database, caller, newest.name, ago=timedelta(minutes=5))
    await led(database, caller, failed.name)
    await led(database, caller, newest.name)
    await audited(database, caller, failed.name, "FAIL")
    audit = await audited(database, caller, newest.name, "FAIL")
    (gone,) = [one for one in await gate.sweep(database) if one.model == newest.name]
    assert gone.instead == live.name
    assert await asked(database, caller, "prod") == live.name
    async with database.single() as session:
        moves = await aliases.history(session, caller, "prod")
    assert (moves[-1].target, moves[-1].audit, moves[-1].key_id) == (live.name, audit, "gate")


async def test_it_comes_back_only_through_the_gate(
    database: Database, caller: Caller, live: Version
) -> None:
    await audited(database, caller, live.name, "FAIL", ago=timedelta(minutes=1))
    await gate.sweep(database)
    await passed(database, caller, live.name)
    await gate.sweep(database)
    with pytest.raises(InvalidInput):
        await asked(database, caller, "prod")
    # The same target again asks the gate again.
    await led(database, caller, live.name)
    assert await asked(database, caller, "prod") == live.name
    assert await stage_of(database, live) == ("staging", False)


async def test_what_fails_under_a_policy_that_is_not_the_gates_stays(
    database: Database, caller: Caller, live: Version
) -> None:
    await audited(database, caller, live.name, "FAIL", policy_name="strict", policy_digest="1" * 64)
    await audited(database, caller, live.name, "INCONCLUSIVE")
    await gate.sweep(database)
    assert await stage_of(database, live) == ("production", False)
    assert await asked(database, caller, "prod") == live.name


async def test_a_forced_one_goes_when_its_time_is_over_and_is_warned_of_before(
    database: Database, caller: Caller, model: Served
) -> None:
    made = await given.version(database, caller, model)
    await promoted(database, caller, made, Force("the client waits", 7))
    await gate.sweep(database)
    assert await told(database, caller) == []
    await force_ages(database, caller, "6 days")
    await gate.sweep(database)
    await gate.sweep(database)
    assert await told(database, caller) == [f"model.evidence_expiring {made.name}"]
    assert await asked(database, caller, made.name) == made.name
    await force_ages(database, caller, "1 day")
    with pytest.raises(InvalidInput, match="forced through with ended"):
        await asked(database, caller, made.name)
    await gate.sweep(database)
    assert await stage_of(database, made) == ("staging", True)


async def test_a_force_that_ends_is_seen_beside_a_later_one_of_the_same_bytes(
    database: Database, caller: Caller, model: Served
) -> None:
    """Brought again with other data to their name, they are let in for longer: that is not the first one's."""
    bytes_, data = given.unkept(), {"data": [{"sha256": "d" * 64}]}
    first = await given.version(database, caller, model, bytes_)
    again = await given.version(database, caller, model, bytes_, lineage=data)
    await promoted(database, caller, first, Force("the client waits", 1))
    await promoted(database, caller, again, Force("the client waits longer", 30))
    await gate.sweep(database)
    await force_ages(database, caller, "1 day", first.id)
    await gate.sweep(database)
    assert f"model.withdrawn {first.name}" in await told(database, caller)
    assert await stage_of(database, first) == ("staging", True)
    assert await stage_of(database, again) == ("production", False)


async def test_evidence_that_came_meanwhile_lets_a_forced_one_stay(
    database: Database, caller: Caller, model: Served
) -> None:
    made = await given.version(database, caller, model)
    await led(database, caller, made.name, Force("the client waits", 7))
    await passed(database, caller, made.name)
    await force_ages(database, caller, "8 days")
    await gate.sweep(database)
    assert await asked(database, caller, "prod") == made.name


async def test_evidence_that_expires_is_warned_of_and_stays_unless_the_policy_says_otherwise(
    database: Database, caller: Caller, live: Version
) -> None:
    await evidence_ends(database, caller, "2 days")
    await gate.sweep(database)
    assert set(await told(database, caller)) == {f"model.evidence_expiring {live.name}"}
    await evidence_ends(database, caller, "-1 day")
    await gate.sweep(database)
    assert await asked(database, caller, "prod") == live.name


async def test_newer_evidence_renews_the_admission_and_nobody_is_warned(
    database: Database, caller: Caller, live: Version
) -> None:
    await evidence_ends(database, caller, "2 days")
    await passed(database, caller, live.name)
    await gate.sweep(database)
    assert await told(database, caller) == []


async def test_other_weights_under_the_name_of_a_base_model_are_not_what_was_let_in(
    database: Database, caller: Caller, model: Served
) -> None:
    await passed(database, caller, model.name)
    await led(database, caller, model.name)
    assert await asked(database, caller, "prod") == model.name
    async with database.begin() as session:
        await session.execute(
            text("UPDATE models SET digest = :d WHERE name = :n"),
            {"d": "e" * 64, "n": model.name},
        )
    with pytest.raises(InvalidInput, match="no admission"):
        await asked(database, caller, "prod")
    for _ in range(2):
        await gate.sweep(database)
    assert await told(database, caller) == [f"model.withdrawn {model.name}"]
    # By its own name, which is no door, it answers as it did.
    assert await asked(database, caller, model.name) == model.name


async def test_a_worker_of_a_whole_model_does_not_start_on_one_that_is_withdrawn(
    database: Database, caller: Caller, model: Served
) -> None:
    made = await given.version(database, caller, model, kind="full", context=2048)
    await audited(database, caller, made.name, ago=timedelta(minutes=1))
    await led(database, caller, made.name)
    async with database.single() as session:
        assert (await standing.standing(session, caller.tenant_id, "prod")).id == made.id
    await audited(database, caller, made.name, "FAIL")
    async with database.single() as session:
        with pytest.raises(Refused, match="does not pass the gate any more"):
            await standing.standing(session, caller.tenant_id, "prod")
    await gate.sweep(database)
    async with database.single() as session:
        with pytest.raises(Refused, match="does not pass the gate any more"):
            await standing.standing(session, caller.tenant_id, "prod")
        # By its own name: an audit must have somebody to ask.
        assert (await standing.standing(session, caller.tenant_id, made.name)).id == made.id


async def test_one_tenants_failure_is_no_others(
    database: Database, caller: Caller, live: Version
) -> None:
    stranger = await tenant(database)
    await audited(database, caller, live.name, "FAIL", tenant=stranger.tenant_id)
    await gate.sweep(database)
    assert await asked(database, caller, "prod") == live.name


async def test_a_name_of_the_settings_is_no_way_round_the_gate(
    database: Database, caller: Caller, model: Served
) -> None:
    settings = Settings(_env_file=None, model_aliases={"prod": model.name, "fast": model.name})
    async with database.single() as session:
        offer = await offers.offered(session, caller.tenant_id)
    for name in ("fast", "prod"):
        found = models.resolve(name, offer.models, settings, param="model", aliases=offer.aliases)
        if name == "fast":
            offer.check(name, found.name, param="model")
            continue
        with pytest.raises(InvalidInput, match="a door of your gate"):
            offer.check(name, found.name, param="model")
