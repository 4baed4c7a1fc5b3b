"""Audits, promotions, aliases, rollbacks, policies, forces and sweeps at once: nothing stands that was not let in."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from sqlalchemy import text

from core.catalog import aliases, gating, offers, stages
from core.catalog.tables import Version
from core.config import Settings
from core.db.session import Database
from core.errors import Conflict, InvalidInput, NotFound
from core.gate import service
from core.gate.door import Force
from core.security.keys import RISK_OWNER, Caller
from tests.core import cataloguing as given
from tests.core.gate.judging import policy
from tests.core.gate.test_policies import KNOWN
from tests.fakes.webhooks import tenant
from tests.gating import audited
from workers import gate

PLAYERS, TURNS = 10, 40

# At every moment: what is in production, and what an alias called prod leads to, was let in under the policy that
# holds, by a published PASS or by a force that has not ended. An alias whose admission is withdrawn answers nobody.
NEVER = text(
    """WITH held AS (
           SELECT coalesce((SELECT policy_name || '@' || policy_version FROM gates WHERE tenant_id = :t), 'default@1')
               AS policy),
       here AS (
           SELECT 'production' AS door, v.id, v.name, v.withdrawn_at IS NOT NULL AS gone
           FROM versions v WHERE v.tenant_id = :t AND v.stage = 'production'
           UNION ALL
           SELECT 'alias:' || a.name, a.version_id, a.target, false
           FROM aliases a WHERE a.tenant_id = :t AND a.name = 'prod')
       SELECT h.door || ' ' || h.name || ' ' || coalesce(p.id::text, 'never') FROM here h
       LEFT JOIN LATERAL (
           SELECT * FROM gate_passes p WHERE p.tenant_id = :t AND p.door = h.door AND p.version_id = h.id
           ORDER BY p.id DESC LIMIT 1) p ON true
       LEFT JOIN audits a ON a.job_id = p.audit
       WHERE h.gone OR p.id IS NULL OR p.withdrawn_at IS NOT NULL AND h.door = 'production'
          OR p.withdrawn_at IS NULL AND (
              p.policy_name || '@' || p.policy_version <> (SELECT policy FROM held)
              OR NOT (p.audit IS NULL AND p.expires_at > now()
                      OR a.verdict = 'PASS' AND a.published_at IS NOT NULL
                         AND a.weights = p.weights AND a.adapter = p.adapter AND a.dataset = p.dataset))"""
)
# Beside that, once the sweep has run: nothing that failed after it was let in.
FAILED = text(
    """SELECT v.name FROM versions v JOIN audits f ON f.version_id = v.id AND f.verdict = 'FAIL'
       JOIN LATERAL (
           SELECT coalesce(a.published_at, p.at) AS since, p.policy_digest FROM gate_passes p
           LEFT JOIN audits a ON a.job_id = p.audit
           WHERE p.tenant_id = :t AND p.version_id = v.id AND p.door = 'production'
           ORDER BY p.id DESC LIMIT 1) p ON f.published_at > p.since AND f.policy_digest = p.policy_digest
       WHERE v.tenant_id = :t AND v.stage = 'production'"""
)


@pytest.fixture
async def crowded(postgres_url: str) -> AsyncIterator[Database]:
    opened = Database(
        Settings(_env_file=None, database_url=postgres_url), name="at once", pool=PLAYERS + 4
    )
    yield opened
    await opened.close()


@dataclass
class Play:
    """One player's turns, each a transaction of its own."""

    db: Database
    caller: Caller
    made: list[Version]
    chance: random.Random
    done: dict[str, int]

    async def turn(self) -> None:
        verbs = [
            self.audit, self.audit, self.promote, self.promote, self.demote, self.put, self.put,
            self.rollback, self.remove, self.sweep, self.policy, self.force,
        ]  # fmt: skip
        verb = self.chance.choice(verbs)
        name = verb.__name__
        try:
            await verb(self.chance.choice(self.made))
        except (Conflict, NotFound, InvalidInput):
            name = "refused"
        self.done[name] = self.done.get(name, 0) + 1

    async def audit(self, version: Version) -> None:
        verdict = self.chance.choice(["PASS", "PASS", "PASS", "FAIL", "INCONCLUSIVE"])
        under = self.chance.choice(["", "default", "strict"])
        await audited(self.db, self.caller, version.name, verdict, policy=under)

    async def promote(self, version: Version) -> None:
        async with self.db.begin() as session:
            await stages.move(session, self.caller, version.name, "production")

    async def force(self, version: Version) -> None:
        async with self.db.begin() as session:
            forced = Force("the client waits", 3)
            await stages.move(session, self.caller, version.name, "production", "", forced)

    async def demote(self, version: Version) -> None:
        async with self.db.begin() as session:
            await stages.move(session, self.caller, version.name, "staging")

    async def put(self, version: Version) -> None:
        async with self.db.begin() as session:
            await aliases.put(session, self.caller, "prod", version.name)

    async def rollback(self, _: Version) -> None:
        async with self.db.begin() as session:
            await aliases.rollback(session, self.caller, "prod")

    async def remove(self, _: Version) -> None:
        async with self.db.begin() as session:
            await aliases.remove(session, self.caller, "prod")

    async def sweep(self, _: Version) -> None:
        await gate.sweep(self.db)

    async def policy(self, _: Version) -> None:
        wanted = self.chance.choice(["default", "strict"])
        grace = self.chance.choice([None, Force("until the audits have run", 2)])
        async with self.db.begin() as session:
            await gating.go_by(session, self.caller, wanted, "", grace)


async def watched(database: Database, caller: Caller, stop: asyncio.Event) -> int:
    """Look at what stands, again and again, each time at one snapshot. Returns how often."""
    looks = 0
    while not stop.is_set():
        async with database.single() as session:
            wrong = list(await session.scalars(NEVER, {"t": caller.tenant_id}))
        assert not wrong, wrong
        looks += 1
    return looks


@pytest.mark.parametrize("seed", range(3))
async def test_at_no_time_stands_what_was_not_let_in(crowded: Database, seed: int) -> None:
    found = await tenant(crowded)
    caller = Caller(found.tenant_id, found.key_id, roles=frozenset({RISK_OWNER}))
    model = await given.base(crowded)
    made = [await given.version(crowded, caller, model) for _ in range(4)]
    async with crowded.begin() as session:
        await service.make(session, caller, "strict", policy(), KNOWN)
        for one in made:
            await stages.move(session, caller, one.name, "staging")
    stop, done = asyncio.Event(), dict[str, int]()
    players = [
        Play(crowded, caller, made, random.Random(f"{seed} {number}"), done)
        for number in range(PLAYERS)
    ]

    async def play(player: Play) -> None:
        for _ in range(TURNS):
            await player.turn()

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watched(crowded, caller, stop))
        async with asyncio.TaskGroup() as playing:
            for player in players:
                playing.create_task(play(player))
        stop.set()
    assert watching.result() > 20
    # Each verb had its way at some time, and each refusal was one of the gate's.
    assert set(done) >= {"audit", "promote", "put", "rollback", "sweep", "policy", "force"}, done
    await _nothing_failed_answers(crowded, caller)
    await gate.sweep(crowded)
    async with crowded.single() as session:
        for never in (NEVER, FAILED):
            assert not list(await session.scalars(never, {"t": caller.tenant_id}))


async def _nothing_failed_answers(database: Database, caller: Caller) -> None:
    """Before the sweep has run: what is behind a door and failed since is withheld already."""
    async with database.single() as session:
        failed = set(await session.scalars(FAILED, {"t": caller.tenant_id}))
        offer = await offers.offered(session, caller.tenant_id)
    assert failed <= set(offer.withheld)
