"""What a verdict means, in words for the person who decides."""

from collections.abc import Mapping, Sequence
from typing import Any

# Worst first: what stands on top of a list of checks.
VERDICTS = ("FAIL", "INVALID", "INCONCLUSIVE", "PASS")
MEANS = {
    "PASS": "Every critical check holds: the whole bound lies within its limit. The gate lets this model pass.",
    "FAIL": "At least one critical check is beyond its limit by more than chance. The gate refuses this model.",
    "INCONCLUSIVE": "The evidence is too thin to say that the limits hold, or that they do not. "
    "The gate refuses this model until there is more.",
    "INVALID": "The measurement itself cannot be trusted, so its figures say nothing about the model. "
    "The gate refuses this model until it was measured again.",
}
STATES = {
    "queued": "This audit has not begun. There is nothing to decide on yet.",
    "running": "This audit is running. Its figures are told when all of them are there, not before.",
    "failed": "This audit failed before it came to a verdict. It is no evidence for or against the model.",
    "cancelled": "This audit was cancelled before it came to a verdict. It is no evidence for or against the model.",
    "expired": "This audit's time ran out before it came to a verdict. It is no evidence for or against the model.",
    "succeeded": "This audit ended without findings. It is no evidence for or against the model.",
}
# True of any audit; what a suite cannot show it says itself.
GENERAL_LIMITS = tuple(
    """\
An audit sees what its items ask. Of other languages, topics, groups and longer talks it says nothing.
A model that passes can still do harm in use.
The figures hold for these weights under these prompts and settings. Another prompt or temperature is another model.
Public test items may have been in the model's training data, which makes it look better than it is.
An interval tells what chance would do if such items were drawn anew, not whether the items are the right ones.
A PASS means that no limit of this policy was found to be crossed. Whether the limits are right, people decide.\
""".splitlines()
)


def headline(checks: Sequence[Mapping[str, Any]]) -> str:
    """One sentence that counts."""
    critical = [check for check in checks if check["tier"] == "critical"]
    counted = {name: sum(c["verdict"] == name for c in critical) for name in VERDICTS}
    if not critical:
        return "No critical check was judged."
    said = {
        "FAIL": "beyond their limits",
        "INVALID": "not measured validly",
        "INCONCLUSIVE": "undecided",
        "PASS": "within their limits",
    }
    parts = [f"{counted[name]} {said[name]}" for name in VERDICTS if counted[name]]
    number = f"{len(critical)} critical check{'s' if len(critical) > 1 else ''}"
    return f"Of {number}: {', '.join(parts)}."


def limit(given: Mapping[str, Any]) -> str:
    """A limit as one would say it."""
    said = {
        "max": "at most {:g}",
        "min": "at least {:g}",
        "noninferior": "not worse than the baseline by more than {:g}",
    }
    parts = [said[n].format(v) for n, v in given.items() if n in said and v is not None]
    if given.get("abs_max") is not None:
        centre, most = given.get("center", 0.0), given["abs_max"]
        parts.append(f"between {centre - most:g} and {centre + most:g}")
    return " and ".join(parts)
