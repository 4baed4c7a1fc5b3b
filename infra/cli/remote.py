"""The API as the command line sees it: where it is, with which key, and what its refusals say."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import typer

READY = Path(".penstock") / "ready.json"
# Nothing was wrong with the request: the same again may go through.
PASSING = (429, 502, 503, 504)
TRIES = 5
# A server that has just been restarted is back within so long; it asks for a second itself.
PAUSE_S = 1.0


class Trouble(Exception):
    """One line for the user, and the exit code: 2 when what they wrote was refused, else 1."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass
class Remote:
    """One API and a key for it."""

    client: httpx.Client
    tries: int = field(default=TRIES)

    def ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """The JSON of an answer, which `answer` gets."""
        body: dict[str, Any] = self.answer(method, path, **request).json()
        return body

    def answer(self, method: str, path: str, **request: Any) -> httpx.Response:
        """An answer that is a success; what may pass is tried again. Raises Trouble.

        Only for requests that may be repeated: reads, cancels, submissions with an idempotency key.
        """
        for number in range(self.tries):
            try:
                answer = self.client.request(method, path, **request)
            except httpx.TransportError as error:
                trouble = self.unreachable(error)
            else:
                if answer.is_success:
                    return answer
                trouble = refusal(answer)
                if answer.status_code not in PASSING:
                    break
            if number < self.tries - 1:
                time.sleep(PAUSE_S)
        raise trouble

    def unreachable(self, error: httpx.TransportError) -> Trouble:
        why = str(error) or type(error).__name__
        return Trouble(f"no answer from {self.client.base_url}: {why}. Is penstock up running?")


def refusal(answer: httpx.Response) -> Trouble:
    """The error envelope in one line, with the field at fault in front."""
    try:
        error = answer.json()["error"]
        message, param = str(error["message"]), error.get("param")
    except (ValueError, KeyError, TypeError):
        message, param = f"HTTP {answer.status_code} without an error message", None
    if param and not message.startswith(f"{param}: "):
        message = f"{param}: {message}"
    wrong_input = answer.status_code in (400, 409, 413, 415, 422)
    return Trouble(" ".join(message.split()), 2 if wrong_input else 1)


def connect(url: str | None, key: str | None, ready: Path = READY) -> Remote:
    """A Remote from what was given; what is missing comes from the `ready.json` of `penstock up`.

    Raises typer.BadParameter, which exits with 2, when that is not there either.
    """
    if url is None or key is None:
        known = _read(ready)
        url, key = url or known.get("base_url"), key or known.get("api_key")
    if not url:
        raise typer.BadParameter(
            f"say where the API is: --url, PENSTOCK_URL, or start penstock up here (no {ready})",
            param_hint="--url",
        )
    if not key:
        raise typer.BadParameter(
            "give a key: --api-key or PENSTOCK_API_KEY; make one with penstock keys create",
            param_hint="--api-key",
        )
    if not url.startswith(("http://", "https://")):
        raise typer.BadParameter("must begin with http:// or https://", param_hint="--url")
    return Remote(
        httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=30)
    )


def _read(ready: Path) -> dict[str, Any]:
    try:
        found = json.loads(ready.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def opened(url: str | None, key: str | None, command: str) -> Iterator[Remote]:
    """The API for one run of `command`; what goes wrong becomes one line and an exit code."""
    remote = connect(url, key)
    try:
        with remote.client:
            yield remote
    except Trouble as trouble:
        typer.echo(f"penstock {command}: {trouble}", err=True)
        raise typer.Exit(trouble.exit_code) from trouble
    except KeyboardInterrupt:
        typer.echo("\nstopped watching; the job goes on", err=True)
        raise typer.Exit(130) from None
