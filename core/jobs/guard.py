"""What vectors do not see: two texts that are almost the same and ask for something else.

An embedding puts "open" beside "close" and 1914 beside 1941. So a semantic hit must also pass these rules, which
are few, of English, and wrong now and then on the safe side: the job is then simply run.
"""

import re

_WORD = re.compile(r"[\w']+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_NEGATIONS = frozenset(
    {"not", "no", "never", "none", "neither", "nor", "without", "cannot", "except", "unless", "off",
     "stop", "fewer", "less", "least"}
)  # fmt: skip
_PREFIXES = ("un", "in", "il", "im", "ir", "dis", "non", "de")


def differs(one: str, other: str) -> bool:
    """Whether the two must not share an answer, however alike they are."""
    return (
        sorted(_NUMBER.findall(one)) != sorted(_NUMBER.findall(other))
        or _names(one) != _names(other)
        or _negations(one) != _negations(other)
        or _opposed(_words(one), _words(other))
        or _turned(_words(one), _words(other))
    )


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _names(text: str) -> set[str]:
    """Words with a capital letter or a digit in them, but for those that begin a sentence."""
    found = set()
    for match in _WORD.finditer(text):
        word, before = match[0], text[: match.start()].rstrip(" \"'(")
        begins = not before or before[-1] in ".!?:\n"
        inside = any(c.isupper() or c.isdigit() for c in word[1:])
        if word != "I" and (inside or (word[0].isupper() and not begins)):
            found.add(word.lower().removesuffix("'s"))
    return found


def _negations(text: str) -> list[str]:
    """Which words turn the meaning, with n't as not."""
    words = ["not" if word.endswith("n't") else word for word in _words(text)]
    return sorted(word for word in words if word in _NEGATIONS)


def _opposed(one: list[str], other: list[str]) -> bool:
    """legal and illegal, enable and disable, affordable and unaffordable."""
    mine, yours = set(one) - set(other), set(other) - set(one)
    return any(_opposite(a, b) or _opposite(b, a) for a in mine for b in yours)


def _opposite(word: str, longer: str) -> bool:
    if any(longer == prefix + word for prefix in _PREFIXES):
        return True
    # enable, disable: both have a prefix of their own.
    return any(word == "en" + longer.removeprefix(p) for p in ("dis",) if longer.startswith(p))


def _turned(one: list[str], other: list[str]) -> bool:
    """The same words in another order: from A to B is not from B to A."""
    return one != other and sorted(one) == sorted(other)
