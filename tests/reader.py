"""A client as users write it: follows a job's stream, reconnects with Last-Event-ID, checks the numbers."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.waiting import PATIENCE_S

TERMINAL = {"job.succeeded", "job.failed", "job.cancelled", "job.expired"}


@dataclass
class Reader:
    """`events` in the order they came; `text` as a client shows it, reset by a snapshot."""

    job_id: str
    events: list[dict[str, Any]] = field(default_factory=list)
    reconnects: int = 0

    @property
    def cursor(self) -> int:
        return self.events[-1]["seq"] if self.events else 0

    @property
    def ended(self) -> bool:
        return bool(self.events) and self.events[-1]["type"] in TERMINAL

    @property
    def text(self) -> str:
        text = ""
        for event in self.events:
            if event["type"] == "snapshot":
                text = event["data"].get("text", "")
            elif event["type"] == "output.delta":
                text += event["data"]["text"]
        return text

    @property
    def snapshots(self) -> int:
        return sum(e["type"] == "snapshot" for e in self.events)

    def agrees(self, log: list[dict[str, Any]]) -> None:
        """Raises AssertionError unless each event is the one of its number in the whole `log`, and each snapshot says
        what the log says up to its number. `take` has seen that none is missing, repeated or out of order."""
        for event in self.events:
            upto = log[: event["seq"]]
            if event["type"] == "snapshot":
                said = "".join(e["data"]["text"] for e in upto if e["type"] == "output.delta")
                assert event["data"].get("text", "") == said, f"snapshot {event['seq']}"
            else:
                assert event == upto[-1]
        assert self.events[-1] == log[-1]

    def take(self, event: dict[str, Any]) -> None:
        """Raises AssertionError for a number that is missing, repeated or out of order."""
        assert not self.ended, f"{event} after the last event"
        if event["type"] == "snapshot":
            assert event["seq"] > self.cursor, f"snapshot {event['seq']} at {self.cursor}"
        else:
            assert event["seq"] == self.cursor + 1, f"{event['seq']} after {self.cursor}"
        self.events.append(event)

    async def connect(self, client: httpx.AsyncClient) -> None:
        """One connection, until it breaks or the job ends. Raises httpx errors as they come."""
        headers = {"last-event-id": str(self.cursor)} if self.events else {}
        url = f"/v1/jobs/{self.job_id}/stream"
        async with client.stream("GET", url, headers=headers) as response:
            if response.status_code == 204:
                return
            response.raise_for_status()
            await self._consume(response)

    async def _consume(self, response: httpx.Response) -> None:
        number, data = "", ""
        async for line in response.aiter_lines():
            if line.startswith("id: "):
                number = line[4:]
            elif line.startswith("data: "):
                data = line[6:]
            elif not line and data:
                event = json.loads(data)
                assert str(event["seq"]) == number
                self.take(event)
                number, data = "", ""

    async def follow(self, client: httpx.AsyncClient, timeout_s: float = PATIENCE_S) -> "Reader":
        """Reconnect until the job has ended. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not self.ended:
                try:
                    await self.connect(client)
                except (httpx.TransportError, httpx.HTTPStatusError):
                    # The server asks for a second between tries (retry: 1000); tests are in more of a hurry.
                    await asyncio.sleep(0.05)
                self.reconnects += 1
        return self
