"""What a person writes on the command line: name=value, a file here or one that was sent before, so many of a list."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from infra.cli.remote import Remote, Trouble

PAGE = 100


def pair(said: str) -> tuple[str, str]:
    """ "name=value" as both. Raises typer.BadParameter."""
    name, equals, value = said.partition("=")
    if not equals:
        raise typer.BadParameter(f"write name=value, not {said!r}")
    return name, value


def value(said: str) -> Any:
    """A number, true or false as such; all else is text."""
    try:
        return json.loads(said)
    except ValueError:
        return said


def file_id(remote: Remote, said: str, purpose: str, *ids: str) -> str:
    """Of a file that is there already (it begins as `ids` do), or of one here, which is sent now. Raises Trouble."""
    if said.startswith(("file_", *ids)):
        return said
    path = Path(said)
    try:
        # Read as it is sent; a second try begins at its start again.
        with path.open("rb") as content:
            form = {"data": {"purpose": purpose}, "files": {"file": (path.name, content)}}
            return str(remote.ask("POST", "/v1/files", **form)["id"])
    except OSError as error:
        raise Trouble(f"{said}: {error.strerror or error}", 2) from error


def listed(
    remote: Remote, path: str, query: dict[str, Any], limit: int
) -> Iterator[dict[str, Any]]:
    """At most `limit` of a list, over all its pages."""
    while limit > 0:
        page = remote.ask("GET", path, params={**query, "limit": min(limit, PAGE)})
        yield from page["data"]
        limit -= len(page["data"])
        if not page["has_more"]:
            return
        query = {**query, "after": page["last_id"]}
