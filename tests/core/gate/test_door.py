"""Production and gated aliases take evidence for exactly these digests; what is missing, stale or failed refuses."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from core.catalog import aliases, stages
from core.catalog.models import Served
from core.catalog.tables import Version
from core.db.session import Database
from core.errors import Forbidden, InvalidInput
from core.gate.door import Force, GateRefused
from core.security.keys import RISK_OWNER, Caller
from tests.core import cataloguing as given
from tests.fakes.webhooks import tenant
from tests.gating import audited, passed

DATA = {"data": [{"file": "file_1", "sha256": "d" * 64}]}


@pytest.fixture
async def caller(database: Database) -> Caller:
    return await tenant(database)


@pytest.fixture
async def model(database: Database) -> Served:
    return await given.base(database)


@pytest.fixture
async def staged(database: Database, caller: Caller, model: Served) -> Version:
    """A version in staging, trained on known data."""
    made = await given.version(database, caller, model, lineage=DATA)
    async with database.begin() as session:
        return await stages.move(session, caller, made.name, "staging")


async def promoted(
    database: Database, caller: Caller, name: str, force: Force | None = None
) -> str:
    async with database.begin() as session:
        return (await stages.move(session, caller, name, "production", "", force)).stage


async def put(
    database: Database, caller: Caller, target: str, name: str = "prod", force: Force | None = None
) -> str:
    async with database.begin() as session:
        return (await aliases.put(session, caller, name, target, "", force)).target


async def refusal(database: Database, caller: Caller, name: str) -> GateRefused:
    """The same at both doors."""
    with pytest.raises(GateRefused) as at_alias:
        await put(database, caller, name)
    with pytest.raises(GateRefused) as at_stage:
        await promoted(database, caller, name)
    assert "the alias prod" in at_alias.value.message
    assert at_stage.value.code == "gate_refused"
    return at_stage.value


async def test_without_evidence_nothing_passes_and_the_refusal_says_how_to_get_it(
    database: Database, caller: Caller, staged: Version
) -> None:
    error = await refusal(database, caller, staged.name)
    assert f"penstock audit run --model {staged.name} --policy default@1" in error.message
    assert error.details["criteria"][0]["verdict"] == "MISSING"
    # Other names are nobody's door.
    assert await put(database, caller, staged.name, "dev") == staged.name


async def test_evidence_lets_it_through_both_doors_and_is_named_in_the_history(
    database: Database, caller: Caller, staged: Version
) -> None:
    audit = await audited(database, caller, staged.name)
    assert await promoted(database, caller, staged.name) == "production"
    assert await put(database, caller, staged.name) == staged.name
    async with database.single() as session:
        moves = await stages.history(session, caller, staged.name)
        moved = await aliases.history(session, caller, "prod")
    assert moves[-1].audit == moved[-1].audit == audit


@pytest.mark.parametrize("name", ["prod", "PROD", "prod-eu", "prod.eu", "prod_2", "Production"])
async def test_every_alias_that_is_called_like_production_is_a_door(
    database: Database, caller: Caller, staged: Version, name: str
) -> None:
    with pytest.raises(GateRefused):
        await put(database, caller, staged.name, name)


async def test_a_served_base_model_needs_evidence_behind_such_an_alias_too(
    database: Database, caller: Caller, model: Served
) -> None:
    with pytest.raises(GateRefused):
        await put(database, caller, model.name)
    await passed(database, caller, model.name)
    assert await put(database, caller, model.name) == model.name


STALE: dict[str, dict[str, Any]] = {
    "weights": {"weights": "1" * 64},
    "adapter": {"adapter": "1" * 64},
    "dataset": {"dataset": "1" * 64},
    "policy name": {"policy_name": "other"},
    "policy version": {"policy_version": 2},
    "what the policy says": {"policy_digest": "1" * 64},
}


@pytest.mark.parametrize("what", STALE)
async def test_each_binding_that_is_another_makes_evidence_none(
    database: Database, caller: Caller, staged: Version, what: str
) -> None:
    await audited(database, caller, staged.name, **STALE[what])
    await refusal(database, caller, staged.name)


async def test_expired_evidence_is_none(
    database: Database, caller: Caller, staged: Version
) -> None:
    await audited(database, caller, staged.name, ago=timedelta(days=31))
    assert "has expired" in (await refusal(database, caller, staged.name)).message


async def test_evidence_that_is_not_published_is_none(
    database: Database, caller: Caller, staged: Version
) -> None:
    job = await audited(database, caller, staged.name)
    async with database.begin() as session:
        await session.execute(
            text("UPDATE audits SET published_at = NULL WHERE job_id = :id"), {"id": job}
        )
    await refusal(database, caller, staged.name)


async def test_another_tenants_evidence_is_none(
    database: Database, caller: Caller, staged: Version
) -> None:
    stranger = await tenant(database)
    await audited(database, caller, staged.name, tenant=stranger.tenant_id)
    await refusal(database, caller, staged.name)


@pytest.mark.parametrize("verdict", ["FAIL", "INCONCLUSIVE", "INVALID"])
async def test_a_verdict_that_is_no_pass_refuses_and_names_each_criterion(
    database: Database, caller: Caller, staged: Version, verdict: str
) -> None:
    await audited(database, caller, staged.name, verdict)
    error = await refusal(database, caller, staged.name)
    assert "harm.compliance: " + verdict in error.message
    assert "0.31 [0.27, 0.36], bound 0.35, limit at most 0.2" in error.message
    assert error.details["criteria"][0]["id"] == "harm"
    # What to do depends on what is wrong; force and limits of one's own are always a way.
    doing = {
        "FAIL": "Correct or change",
        "INCONCLUSIVE": "too little was shown",
        "INVALID": "could not be measured",
    }
    assert doing[verdict] in error.message
    for way in (
        "penstock audit report job_",
        "penstock audit run --model",
        "gate force",
        "Your first promotion",
    ):
        assert way in error.message


async def test_a_failure_counts_until_a_later_pass_that_asked_as_much(
    database: Database, caller: Caller, staged: Version
) -> None:
    await audited(database, caller, staged.name, ago=timedelta(hours=3))
    await audited(database, caller, staged.name, "FAIL", ago=timedelta(hours=2))
    await refusal(database, caller, staged.name)
    # Asking less until chance agrees is no way round.
    await audited(database, caller, staged.name, ago=timedelta(hours=1), items=50)
    await refusal(database, caller, staged.name)
    await audited(database, caller, staged.name)
    assert await promoted(database, caller, staged.name) == "production"


async def test_a_failed_check_counts_in_an_audit_that_is_invalid_as_a_whole(
    database: Database, caller: Caller, staged: Version
) -> None:
    await audited(database, caller, staged.name, ago=timedelta(hours=1))
    checks: list[dict[str, Any]] = [
        {"id": "a", "metric": "a", "tier": "critical", "verdict": "INVALID", "reason": "no"},
        {"id": "b", "metric": "b", "tier": "critical", "verdict": "FAIL", "reason": "bad"},
    ]
    await audited(database, caller, staged.name, "INVALID", checks=checks)
    assert "b: FAIL, bad" in (await refusal(database, caller, staged.name)).message


async def test_a_rollback_asks_the_gate_as_well(
    database: Database, caller: Caller, model: Served
) -> None:
    one, two = [await given.version(database, caller, model) for _ in range(2)]
    await passed(database, caller, one.name, two.name)
    await put(database, caller, one.name)
    await put(database, caller, two.name)
    await audited(database, caller, one.name, "FAIL")
    async with database.begin() as session:
        with pytest.raises(GateRefused):
            await aliases.rollback(session, caller, "prod")


async def test_what_is_deleted_and_brought_back_asks_the_gate_as_well(
    database: Database, caller: Caller, staged: Version
) -> None:
    await passed(database, caller, staged.name)
    await put(database, caller, staged.name)
    async with database.begin() as session:
        await aliases.remove(session, caller, "prod")
    await audited(database, caller, staged.name, "FAIL")
    async with database.begin() as session:
        with pytest.raises(GateRefused):
            await aliases.rollback(session, caller, "prod")


async def test_force_takes_a_role_a_reason_and_an_end(
    database: Database, caller: Caller, staged: Version
) -> None:
    owner = Caller(caller.tenant_id, caller.key_id, roles=frozenset({RISK_OWNER}))
    with pytest.raises(Forbidden, match="role risk-owner"):
        await promoted(database, caller, staged.name, Force("the client waits", 7))
    for force, param in (
        (Force(" ", 7), "force.reason"),
        (Force("because", 0), "force.expires_in_days"),
        (Force("because", 31), "force.expires_in_days"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await promoted(database, owner, staged.name, force)
        assert refused.value.param == param
    forced = Force("the client waits", 7)
    assert await promoted(database, owner, staged.name, forced) == "production"
    assert await put(database, owner, staged.name, force=forced) == staged.name
    async with database.single() as session:
        rows = (
            await session.execute(
                text(
                    "SELECT door, audit, reason, key_id, lacking, expires_at - at AS long FROM gate_passes "
                    "WHERE tenant_id = :t ORDER BY id"
                ),
                {"t": caller.tenant_id},
            )
        ).all()
    assert [row.door for row in rows] == ["production", "alias:prod"]
    for row in rows:
        assert (row.audit, row.reason, row.key_id) == (None, "the client waits", caller.key_id)
        assert "never audited" in row.lacking[0]
        assert timedelta(days=6.9) < row.long < timedelta(days=7.1)


async def test_force_is_for_doors_alone(database: Database, caller: Caller, model: Served) -> None:
    owner = Caller(caller.tenant_id, caller.key_id, roles=frozenset({RISK_OWNER}))
    made = await given.version(database, caller, model)
    async with database.begin() as session:
        with pytest.raises(InvalidInput, match="force is for production"):
            await stages.move(session, owner, made.name, "staging", "", Force("x", 1))
        with pytest.raises(InvalidInput, match="no door"):
            await aliases.put(session, owner, "dev", made.name, "", Force("x", 1))


async def test_of_weights_whose_digest_is_not_known_nothing_can_be_shown(
    database: Database, caller: Caller
) -> None:
    model = await given.base(database)
    async with database.begin() as session:
        await session.execute(
            text("UPDATE models SET digest = '' WHERE name = :n"), {"n": model.name}
        )
    await audited(database, caller, model.name)
    with pytest.raises(GateRefused, match="not known"):
        await put(database, caller, model.name)
