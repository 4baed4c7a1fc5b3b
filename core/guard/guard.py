"""A tenant's guard, ready to be used: its rules compiled, its classifier found."""

from dataclasses import dataclass
from typing import Any

from core.guard import bounded, personal
from core.guard.lexicon import Term
from core.guard.passage import Passage
from core.guard.scanner import Scanner
from core.guard.settings import GuardSettings
from core.guard.spans import Act


@dataclass(frozen=True)
class Guard:
    """`digest` names it: two with the same digest say the same of every text."""

    digest: str
    settings: GuardSettings
    scanner: Scanner

    @property
    def enforces(self) -> bool:
        return self.settings.mode == "enforce"

    def act(self, category: str, *, default: Any = "mask") -> Act | None:
        """What is done about a category; None: it is not looked for."""
        return _act(self.settings, category, default)

    def passage(self, *, escaped: bool = False) -> Passage:
        """For one answer; `escaped`: it is JSON."""
        return Passage(
            self.scanner,
            escaped=escaped,
            sentences=self.settings.classifier is not None,
            lazy=not self.enforces,
        )


def compiled(settings: GuardSettings) -> Guard | None:
    """None in mode off."""
    if settings.mode == "off":
        return None
    rules = [*personal.RULES, *(bounded.rule(p.category, p.pattern) for p in settings.patterns)]
    terms = [Term(t, one.category, one.severe) for one in settings.lexicons for t in one.terms]
    wanted = {rule.category for rule in rules} | {term.category for term in terms} | {"encoded"}
    acts = {name: act for name in sorted(wanted) if (act := _act(settings, name, "mask"))}
    return Guard(settings.digest, settings, Scanner(tuple(rules), tuple(terms), acts))


def _act(settings: GuardSettings, category: str, default: Any) -> Act | None:
    wish = settings.action_of(category, default)
    if wish.action == "off":
        return None
    action = "observe" if settings.mode == "observe" else wish.action
    return Act(action, f"[{category}]" if wish.text is None else wish.text)
