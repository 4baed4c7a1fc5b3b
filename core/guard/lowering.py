"""What new settings let readers see that those in force keep from them: accepting that risk takes a name.

Only an enforced guard keeps anything. What cannot be compared, such as another classifier, counts as less.
"""

from collections.abc import Iterator
from typing import NamedTuple

from core.guard import lexicon, personal
from core.guard.settings import GuardSettings, Judge, Router

# What is done about a category, by how much it keeps from a reader.
_KEEPS = {"off": 0, "observe": 0, "mask": 1, "rewrite": 1, "stop": 2}
_RULES = (*personal.CATEGORIES, "encoded")


class Rule(NamedTuple):
    """A tenant's own term or pattern; `severe`: also looked for encoded."""

    kind: str
    text: str
    severe: bool = False


def lowered(before: GuardSettings, after: GuardSettings) -> list[str]:
    """Each way in which `after` keeps less, naming the field; both are resolved."""
    if before.mode != "enforce":
        return []
    if after.mode != "enforce":
        return [f"mode: enforce becomes {after.mode}"]
    return [*_categories(before, after), *_own(before, after), *_judged(before, after)]


def _keeps(settings: GuardSettings, category: str, default: str = "mask") -> int:
    wish = settings.actions.get(category)
    return _KEEPS[default if wish is None else wish.action]


def _categories(before: GuardSettings, after: GuardSettings) -> Iterator[str]:
    for name in _RULES:
        if _keeps(after, name) < _keeps(before, name):
            yield f"actions.{name}"


def _rules(settings: GuardSettings) -> dict[Rule, int]:
    """Each with the most that is done about it."""
    found: dict[Rule, int] = {}
    for one in settings.lexicons:
        keeps = _keeps(settings, one.category)
        for term in map(lexicon.plain, one.terms):
            # A severe term is found wherever a plain one is.
            for severe in {False, one.severe}:
                rule = Rule("lexicons", term, severe)
                found[rule] = max(found.get(rule, 0), keeps)
    for pattern in settings.patterns:
        rule = Rule("patterns", pattern.pattern)
        found[rule] = max(found.get(rule, 0), _keeps(settings, pattern.category))
    return found


def _own(before: GuardSettings, after: GuardSettings) -> Iterator[str]:
    ours, theirs = _rules(before), _rules(after)
    less = [rule for rule, keeps in ours.items() if theirs.get(rule, 0) < keeps]
    for kind in ("lexicons", "patterns"):
        texts = sorted({rule.text for rule in less if rule.kind == kind})
        if texts:
            yield f"{kind}: {len(texts)} of them, {texts[0][:40]!r} first"


def _judged(before: GuardSettings, after: GuardSettings) -> Iterator[str]:
    judge, other = before.classifier, after.classifier
    kept = [] if judge is None else [c for c in judge.categories if _keeps(before, c, "observe")]
    if judge is None or not kept:
        return
    # What a name means is the platform's to change.
    if other is None or other.name != judge.name:
        yield "classifier"
        return
    for name in kept:
        if _keeps(after, name, "observe") < _keeps(before, name, "observe"):
            yield f"actions.{name}"
        elif name not in other.categories or _least(other, name) > _least(judge, name):
            yield f"classifier.categories.{name}"
    if _lets_by(other) and (not _lets_by(judge) or other.budget_ms < judge.budget_ms):
        yield "classifier.on_failure"
    if _keeps(after, "unchecked") < _keeps(before, "unchecked"):
        yield "actions.unchecked"
    if _spares_more(before.router, after.router):
        yield "router"


def _least(judge: Judge, category: str) -> float:
    least = judge.categories[category]
    return 1.0 if least is None else least


def _lets_by(judge: Judge) -> bool:
    return judge.on_failure == "fail_open"


def _spares_more(before: Router | None, after: Router | None) -> bool:
    if after is None:
        return False
    if before is None:
        return True
    return (
        after.threshold > before.threshold
        or not set(before.examples) <= set(after.examples)
        or not set(after.contrast) <= set(before.contrast)
    )
