"""Personal data in what a report quotes: the guard's rules, and wider ones for what may be meant as such a number."""

import re

from core.guard import personal
from core.guard.folding import seen
from core.guard.scanner import Scanner
from core.guard.spans import Act, merged

_RULES = Scanner(
    personal.RULES, (), {name: Act("mask", f"[{name.upper()}]") for name in personal.CATEGORIES}
)
# Each with a bounded length. An answer is guarded by numbers that pass their own check; who reads a page loses nothing
# by a mask too many. Before the rules: an address in letters of any script, of which they would leave a part.
_BEFORE = (("EMAIL", re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}")),)
_AFTER = (
    ("IBAN", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")),
    ("CARD", re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")),
    (
        # At least eight digits: "10 20 30" is a list.
        "PHONE",
        re.compile(
            r"(?<![\w+])(?=\+?(?:[ ()./-]{0,2}\d){8})"
            r"\+?(?:\(\d{1,5}\)|\d{1,4})(?:[ ./-]\(?\d{1,5}\)?){2,5}(?!\w)"
        ),
    ),
)


def masked(text: str) -> tuple[str, int]:
    """The text with `[EMAIL]` and the like in place of what was found, and how many were."""
    found = 0
    for name, pattern in _BEFORE:
        text, count = pattern.subn(f"[{name}]", text)
        found += count
    text, count = _ruled(text)
    found += count
    for name, pattern in _AFTER:
        text, count = pattern.subn(f"[{name}]", text)
        found += count
    return text, found


def _ruled(text: str) -> tuple[str, int]:
    spans, _ = _RULES.scan("", seen(text), final=True)
    whole, parts, at = merged(spans), [], 0
    for span in whole:
        parts += [text[at : span.begin], span.act.text]
        at = span.end
    return "".join([*parts, text[at:]]), len(whole)
