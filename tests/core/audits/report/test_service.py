"""A report is read from the rows of its audit, by its own tenant alone."""

import pytest
from sqlalchemy import text

from core.audits.report import service
from core.catalog.models import Served
from core.db.session import Database
from core.errors import NotFound
from core.gate.tables import Pass
from core.security.keys import Caller
from tests.core import cataloguing as given
from tests.core.audits.report import keeping, made
from tests.fakes.postgres import database, postgres_url
from tests.fakes.webhooks import tenant

__all__ = ["database", "postgres_url"]


@pytest.fixture
async def caller(database: Database) -> Caller:
    return await tenant(database)


@pytest.fixture
async def model(database: Database) -> Served:
    return await given.base(database)


async def test_it_holds_what_was_found_and_the_worst_answers_as_they_were_given(
    database: Database, caller: Caller, model: Served
) -> None:
    audit = await keeping.audit(database, caller, model)
    async with database.single() as session:
        report = await service.report(session, caller, audit, made.SUITES)
    assert (report["id"], report["verdict"], report["state"]) == (audit, "FAIL", "succeeded")
    assert [c["verdict"] for c in report["checks"]] == [
        "FAIL", "INVALID", "INCONCLUSIVE", "INCONCLUSIVE", "PASS", "PASS",
    ]  # fmt: skip
    bbq = report["suites"][0]
    assert bbq["worst"]["items"][0]["item"] == "bbq:0"
    assert bbq["worst"]["items"][0]["answers"][0]["text"] == f"answer 0 {made.HOSTILE}"
    assert bbq["worst"]["items"][0]["likelihoods"] == [-1.25]
    assert bbq["prompts"][0]["item"] == "bbq:0"
    assert bbq["files"]["data"]["sha256"] == "a" * 64
    assert report["suites"][1]["classifier"] == ["penstock-lexical@1", "c" * 64]
    assert report["evidence"]["standing"] == "current"
    assert report["job"]["cost"] is None


async def test_another_tenant_s_audit_is_not_there(
    database: Database, caller: Caller, model: Served
) -> None:
    audit = await keeping.audit(database, caller, model)
    other = await tenant(database)
    async with database.single() as session:
        with pytest.raises(NotFound) as theirs:
            await service.report(session, other, audit, made.SUITES)
        with pytest.raises(NotFound) as nobodys:
            await service.report(session, other, "job_none", made.SUITES)
    assert theirs.value.message.replace(audit, "job_none") == nobodys.value.message
    assert theirs.value.param == "audit_id"


async def test_findings_of_a_job_that_did_not_succeed_are_not_shown(
    database: Database, caller: Caller, model: Served
) -> None:
    audit = await keeping.audit(database, caller, model, "PASS", state="failed")
    async with database.single() as session:
        report = await service.report(session, caller, audit, made.SUITES)
    assert report["verdict"] is None
    assert report["suites"] == []


async def test_a_correction_is_shown_with_both_its_audits(
    database: Database, caller: Caller, model: Served
) -> None:
    first = await keeping.audit(database, caller, model)
    second = await keeping.audit(database, caller, model, "PASS")
    async with database.begin() as session:
        await session.execute(
            text(
                """INSERT INTO corrections (id, tenant_id, key_id, first, second, wish, suites, state)
                   VALUES (:id, :tenant, :key, :first, :second, '{}', '{bbq}', 'auditing')"""
            ),
            {"id": f"cor_{first[4:]}", "tenant": caller.tenant_id, "key": caller.key_id,
             "first": first, "second": second},
        )  # fmt: skip
    for audit in (first, second):
        async with database.single() as session:
            report = await service.report(session, caller, audit, made.SUITES)
        (shown,) = report["corrections"]
        assert (shown["first"], shown["second"], shown["state"]) == (first, second, "auditing")


async def test_what_was_forced_with_the_same_digests_is_told_and_no_other_tenant_s(
    database: Database, caller: Caller, model: Served
) -> None:
    audit, other = await keeping.audit(database, caller, model), await tenant(database)
    forced = {
        "door": "production", "model": model.name, "weights": "b" * 64, "adapter": "",
        "dataset": "", "policy_name": "default", "policy_version": 1, "policy_digest": "d" * 64,
        "lacking": ["bias.age"], "expires_at": made.NOW,
    }  # fmt: skip
    digests = [
        (caller, "e" * 64, "mine"), (caller, "f" * 64, "another adapter"), (other, "e" * 64, "theirs"),
    ]  # fmt: skip
    async with database.begin() as session:
        for who, adapter, reason in digests:
            mine = forced | {"adapter": adapter, "reason": reason}
            session.add(Pass(tenant_id=who.tenant_id, key_id=who.key_id, **mine))
        await session.flush()
    async with database.single() as session:
        report = await service.report(session, caller, audit, made.SUITES)
    (shown,) = report["doors"]
    assert (shown["reason"], shown["forced"], shown["author"]) == ("mine", True, caller.key_id)
    assert (shown["lacking"], shown["policy"]) == (["bias.age"], "default@1")
