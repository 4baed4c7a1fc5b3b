"""Follow an audit to its end: how far it is, and each finding as it is made."""

import json
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from infra.cli import audit_tables as tables
from infra.cli.remote import Remote
from infra.cli.watch import Follow, events


def watch(remote: Remote, audit_id: str, *, as_json: bool) -> dict[str, Any]:
    """Returns the audit once it has ended. `as_json`: one event a line, as it came."""
    follow, console = Follow(audit_id), Console(stderr=True, highlight=False)
    last = ""
    for event in events(remote, follow):
        if not event:
            continue
        follow.take(event)
        if as_json:
            sys.stdout.write(json.dumps(event) + "\n")
            sys.stdout.flush()
            continue
        line = _line(event)
        if line is not None and line.plain != last:
            console.print(line)
            last = line.plain
    return remote.ask("GET", f"/v1/audits/{audit_id}")


def _line(event: dict[str, Any]) -> Text | None:
    """None: not worth one."""
    data = event["data"]
    match event["type"]:
        case "progress":
            return Text(tables.progress(data), "dim")
        case "finding":
            mark = Text(f"{data['verdict']:<13}", tables.STYLES[data["verdict"]])
            return mark + Text(f"{tables.called(data)}: {data['reason']}")
        case "job.requeued":
            return Text(
                f"attempt {event['attempt']} ended ({data['reason']}); it goes on", "yellow"
            )
        case "snapshot":
            return Text(tables.progress(data), "dim")
    return None
