"""Short ways for webhook tests: a tenant, an endpoint, a delivery, and a worker's runtime."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from sqlalchemy import text

from core.config import Settings
from core.db.session import Database
from core.events.log import EventLog, connect
from core.ids import new_id
from core.security import keys
from core.security.keys import Caller
from core.webhooks import addresses, signing
from core.webhooks.addresses import Address, Guard
from workers.webhooks import transport
from workers.webhooks.handler import Runtime

PUBLIC = "93.184.216.34"  # any global address: nothing dials it


class Names:
    """A resolver with its own idea of names: a list is one answer, the last one stays."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self._answers = {name.replace("_", "."): list(lists) for name, lists in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[Address]:  # noqa: ARG002 - a Resolver
        self.asked.append(host)
        if host not in self._answers:
            raise OSError("Name or service not known")
        lists = self._answers[host]
        return [ip_address(one) for one in (lists.pop(0) if lists[1:] else lists[0])]


def settings(**values: Any) -> Settings:
    """Settings that allow loopback and plain HTTP, with a schedule of a few quick tries."""
    defaults: dict[str, Any] = {
        "webhook_allow_nets": ["127.0.0.0/8"],
        "webhook_allow_http": True,
        "webhook_timeout_s": 10.0,
        "webhook_schedule_s": [0.0, 0.0, 0.0, 0.0, 0.0],
    }
    return Settings(_env_file=None, **(defaults | values))


def log() -> EventLog:
    """An event log that nobody asks: it connects when it is."""
    return EventLog(connect(settings()), settings())


def runtime(database: Database, rules: Guard | None = None, **values: Any) -> Runtime:
    chosen = settings(**values)
    return Runtime(database, chosen, transport.make(rules or addresses.guard(chosen)))


async def tenant(database: Database) -> Caller:
    async with database.begin() as session:
        key, _ = await keys.create(session, tenant=new_id("t"), name="test")
    return Caller(tenant_id=key.tenant_id, key_id=key.id)


async def endpoint(database: Database, caller: Caller, url: str, **columns: Any) -> str:
    """An endpoint for every job event, past the checks of registration. Returns its id."""
    values: dict[str, Any] = {
        "id": new_id("we"), "tenant_id": caller.tenant_id, "name": "test", "url": url,
        "event_types": ["job.queued", "job.succeeded"], "secret": signing.new_secret(), **columns,
    }  # fmt: skip
    names = ", ".join(values)
    places = ", ".join(f":{name}" for name in values)
    async with database.begin() as session:
        await session.execute(
            text(f"INSERT INTO webhook_endpoints ({names}) VALUES ({places})"), values
        )
    return str(values["id"])


async def delivery(database: Database, endpoint_id: str, body: str = '{"type": "job.x"}') -> str:
    """A delivery that is due now. Returns its id."""
    values = {"id": new_id("wd"), "endpoint": endpoint_id, "event": new_id("evt"), "body": body}
    async with database.begin() as session:
        await session.execute(
            text(
                """INSERT INTO webhook_deliveries
                       (id, tenant_id, endpoint_id, event_id, event_type, body)
                   SELECT :id, tenant_id, id, :event, 'job.succeeded', :body
                   FROM webhook_endpoints WHERE id = :endpoint"""
            ),
            values,
        )
    return values["id"]


async def row(database: Database, table: str, row_id: str) -> Mapping[str, Any]:
    """A row as a mapping; `due_in` is its next_at in seconds from the database's now."""
    extra = ", extract(epoch FROM next_at - now())::float AS due_in"
    columns = "*" + (extra if table == "webhook_deliveries" else "")
    async with database.begin() as session:
        found = await session.execute(
            text(f"SELECT {columns} FROM {table} WHERE id = :id"), {"id": row_id}
        )
        return dict(found.mappings().one())


async def run(database: Database, statement: str, **values: Any) -> None:
    """One statement, e.g. to make time pass for a row."""
    async with database.begin() as session:
        await session.execute(text(statement), values)
