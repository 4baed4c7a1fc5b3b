"""What a refusal says: each criterion that failed or has no evidence, and what its reader can do about it."""

from typing import Any

from core.gate.evidence import Candidate
from core.gate.service import Held
from core.gate.weighing import Answer

# By verdict; {audit} and {command} are filled in.
_NEXT = {
    "MISSING": "Audit it: {command}",
    "FAIL": "Item by item: penstock audit report {audit}. Correct or change the model, then audit it again: {command}",
    "INCONCLUSIVE": (
        "Nothing failed, and too little was shown: penstock audit report {audit} says of each check what it lacks. Ask "
        "all that the policy asks: {command}"
    ),
    "INVALID": (
        "The answers could not be measured: penstock audit report {audit} says why. When that is mended: {command}"
    ),
}


def sentence(candidate: Candidate, door: str, answer: Answer) -> str:
    """Figures read: estimate [its interval], the bound that is held against the limit, the limit."""
    named = f" ({answer.audit.job_id})" if answer.audit is not None else ""
    listed = "; ".join(answer.why)
    return (
        f"{candidate.name} does not pass the gate to {_spoken(door)} under {answer.policy.called}: "
        f"{answer.verdict}{named}: {listed}. {advice(candidate, door, answer)}"
    )


def advice(candidate: Candidate, door: str, answer: Answer) -> str:
    """What to do next; empty for what passes."""
    if answer.passes:
        return ""
    audit = answer.audit.job_id if answer.audit is not None else ""
    found = _NEXT[answer.verdict].format(audit=audit, command=command(candidate, answer.policy))
    at = "" if door == "production" else f" --door {door}"
    return (
        f"{found}. Other limits: a policy of your own (docs/gate.md, Your first promotion). Without evidence: penstock "
        f"gate force {candidate.name}{at} --reason ... --days 7, with a key that has the role risk-owner."
    )


def command(candidate: Candidate, policy: Held) -> str:
    """What would show what is missing."""
    return f"penstock audit run --model {candidate.name} --policy {policy.called} --wait"


def criteria(answer: Answer) -> list[dict[str, Any]]:
    """The same for programs."""
    missing = {"id": None, "verdict": "MISSING", "reason": "; ".join(answer.why)}
    return list(answer.criteria) or [missing]


def _spoken(door: str) -> str:
    kind, _, name = door.partition(":")
    return f"the alias {name}" if kind == "alias" else door
