"""Personal data in what a report quotes: e-mail addresses, telephone, card and account numbers are masked."""

import re

# Each with a bounded length. They mask for a reader, they do not guard an answer: that is core.guard.
_PATTERNS = (
    ("EMAIL", re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}")),
    ("IBAN", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")),
    ("CARD", re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")),
    ("SSN", re.compile(r"(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)")),
    ("IP", re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")),
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
    for name, pattern in _PATTERNS:
        text, count = pattern.subn(f"[{name}]", text)
        found += count
    return text, found
