"""Follow one job to its end: text to stdout as it is made, how it goes on stderr."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from infra.cli.remote import PASSING, PAUSE_S, Remote, refusal

ENDS = {"job.succeeded", "job.failed", "job.cancelled", "job.expired"}
# The server sends a sign of life every PENSTOCK_SSE_KEEPALIVE_S, 15 s: twice that without one is a
# broken connection.
SILENCE_S = 35.0


@dataclass
class Follow:
    """What has been heard of a job: its text, and the number to resume from."""

    job_id: str
    cursor: int = 0
    state: str = "queued"
    attempt: int = 0
    tokens: int = 0
    text: str = ""
    began: float | None = None
    broken: str = ""
    last: dict[str, Any] = field(default_factory=dict)

    def take(self, event: dict[str, Any]) -> str:
        """Take the next event in; returns the text to add to what is shown."""
        data = event["data"]
        self.cursor, self.attempt, self.broken = event["seq"], event["attempt"], ""
        match event["type"]:
            case "job.started":
                self.state = "running"
            case "job.requeued":
                self.state = "queued"
            case "output.delta":
                self.began = self.began or time.monotonic()
                self.tokens += data.get("tokens", 1)
                self.text += data["text"]
                return str(data["text"])
            case "snapshot":
                return self._replace(data.get("text") or "")
            case kind if kind in ENDS:
                self.state, self.last = kind.removeprefix("job."), data
                self.tokens = (data.get("usage") or {}).get("completion_tokens", self.tokens)
        return ""

    def _replace(self, text: str) -> str:
        """A snapshot holds all the text; mostly it only goes on from what is shown."""
        shown, self.text = self.text, text
        return text.removeprefix(shown) if text.startswith(shown) else f"\n{text}"

    @property
    def ended(self) -> bool:
        return f"job.{self.state}" in ENDS

    def line(self) -> str:
        """state, attempt, tokens, tokens a second."""
        parts = [self.job_id, self.state, f"attempt {self.attempt}", f"{self.tokens} tokens"]
        if self.began is not None:
            parts.append(f"{self.tokens / max(time.monotonic() - self.began, 0.001):.0f} tok/s")
        if self.broken:
            parts.append(self.broken)
        return " · ".join(parts)


def events(remote: Remote, follow: Follow) -> Iterator[dict[str, Any]]:
    """Every event to the last one, across broken connections. Raises Trouble for a final refusal."""
    while not follow.ended:
        try:
            yield from _connection(remote, follow)
        except httpx.TransportError as error:
            follow.broken = f"reconnecting ({type(error).__name__})"
        if not follow.ended:
            yield {}
            time.sleep(PAUSE_S)


def _connection(remote: Remote, follow: Follow) -> Iterator[dict[str, Any]]:
    headers = {"last-event-id": str(follow.cursor)} if follow.cursor else {}
    url = f"/v1/jobs/{follow.job_id}/stream"
    with remote.client.stream("GET", url, headers=headers, timeout=SILENCE_S) as answer:
        if answer.status_code in PASSING:
            follow.broken = f"waiting (HTTP {answer.status_code})"
            return
        if not answer.is_success:
            answer.read()
            raise refusal(answer)
        for line in answer.iter_lines():
            if line.startswith("data: "):
                event: dict[str, Any] = json.loads(line.removeprefix("data: "))
                if event["seq"] > follow.cursor:
                    yield event
            elif line.startswith(":"):
                yield {}


def watch(remote: Remote, job_id: str, *, as_json: bool) -> Follow:
    """Show a job until it has ended. `as_json`: one event a line, as it came."""
    follow = Follow(job_id)
    if as_json:
        for event in events(remote, follow):
            if event:
                follow.take(event)
                _say(json.dumps(event) + "\n")
    elif sys.stdout.isatty():
        _on_a_terminal(remote, follow)
    else:
        for event in events(remote, follow):
            if event:
                _say(follow.take(event))
        _say("\n")
    if not as_json:
        Console(stderr=True, highlight=False).print(_verdict(follow), markup=False, soft_wrap=True)
    return follow


def _on_a_terminal(remote: Remote, follow: Follow) -> None:
    """Whole lines scroll by; the last one, unfinished, stands above the progress line."""
    console, rest = Console(highlight=False), ""
    with Live(console=console, transient=True, auto_refresh=False) as live:
        for event in events(remote, follow):
            rest += follow.take(event) if event else ""
            *lines, rest = _wrapped(rest, console.width)
            for line in lines:
                console.print(Text(line))
            live.update(Group(Text(rest), Text(follow.line(), style="dim")), refresh=True)
    console.print(Text(rest))


def _wrapped(text: str, width: int) -> list[str]:
    """Lines no wider than the terminal; the last one may still grow."""
    lines: list[str] = []
    for rest in text.split("\n"):
        line = rest
        while len(line) > width:
            cut = line.rfind(" ", 1, width) + 1 or width
            lines.append(line[:cut])
            line = line[cut:]
        lines.append(line)
    return lines


def _verdict(follow: Follow) -> str:
    error = follow.last.get("error") or {}
    return f"{follow.line()}: {error['message']}" if error else follow.line()


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
