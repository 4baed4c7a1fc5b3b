"""The audit kind: suites asked of a model, their figures judged. What was answered is in core/audits, item by item."""

from typing import Any, Literal

from pydantic import PrivateAttr

from core.audits.wishes import AuditWish
from core.events import types

KIND = "audit"
# What an attempt tells of where it is; core.jobs.job.PARTIAL names the same in SQL.
SHOWN = ("phase", "done", "total", "eta_s", "plan", "findings")


class AuditSpec(AuditWish):
    kind: Literal["audit"] = "audit"
    # Told at admission, from the suites: what is set aside, and charged to the tenant's share.
    _tokens: int = PrivateAttr(0)

    def expect(self, tokens: int) -> None:
        """Reckon what its questions may take, before they are counted."""
        self._tokens = tokens

    def reservation(self) -> int:
        return self._tokens


def join(progress: dict[str, Any] | None, said: list[dict[str, Any]]) -> dict[str, Any]:
    """Where the audit stands, and every finding by its check: one that is told again takes its first place."""
    state = dict(progress or {})
    for one in said:
        data = {k: v for k, v in one.items() if k != "event"}
        match one.get("event"):
            case types.PROGRESS:
                state |= {k: data[k] for k in SHOWN if k in data}
            case types.FINDING:
                state["findings"] = dict(state.get("findings", ())) | {called(data): data}
    return state


def called(finding: dict[str, Any]) -> str:
    """A check by its id and group: "bias.bbq category=Age"."""
    return " ".join([finding["id"], *(f"{k}={v}" for k, v in sorted(finding["group"].items()))])


def partial(progress: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a client may see of an audit that has not ended; core.jobs.job.PARTIAL says it in SQL."""
    return {k: progress[k] for k in SHOWN if k in progress} or None if progress else None
