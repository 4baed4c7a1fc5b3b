"""More training rows out of those there are: what the user says, written otherwise; what is learned stays.

Which words change follows from the seed and the row alone, so that the same data give the same rows.
"""

import random
from collections.abc import Callable, Iterator

from workers.data.conversation import Row
from workers.data.plan import Augment
from workers.data.spool import canonical, short_digest

_PUNCTUATION = ".,;:!?"


def copies(row: Row, augment: Augment, seed: int) -> Iterator[Row]:
    """Up to `augment.copies` rows that differ from this one and from each other."""
    asked = _asked(row)
    if asked is None:
        return
    written = canonical(row)
    seen = {asked}
    for number in range(augment.copies):
        chance = random.Random(f"{seed}:{number}:{short_digest(written)}")  # noqa: S311 - repeatable noise, no secret
        text = asked
        if augment.templates:
            text = chance.choice(augment.templates).replace("{text}", text)
        for noise in augment.noise:
            text = _NOISES[noise](text, chance, augment.strength)
        if text.strip() and text not in seen:
            seen.add(text)
            yield _with(row, text)


def _asked(row: Row) -> str | None:
    """What the user said last; None for rows in which nobody asks."""
    if "prompt" in row:
        return str(row["prompt"])
    users = [m for m in row.get("messages", ()) if m["role"] == "user"]
    return str(users[-1]["content"]) if users else None


def _with(row: Row, text: str) -> Row:
    if "prompt" in row:
        return row | {"prompt": text}
    said = list(row["messages"])
    last = max(n for n, m in enumerate(said) if m["role"] == "user")
    said[last] = said[last] | {"content": text}
    return row | {"messages": said}


def _each_word(
    text: str, chance: random.Random, share: float, change: Callable[[str, random.Random], str]
) -> str:
    return "\n".join(
        " ".join(change(w, chance) if w and chance.random() < share else w for w in line.split(" "))
        for line in text.split("\n")
    )


def _case(text: str, chance: random.Random, share: float) -> str:
    """All of it in small letters or capitals at times; else some words."""
    if chance.random() < share:
        return text.lower() if chance.random() < 0.5 else text.upper()
    return _each_word(text, chance, share, lambda word, _: word.swapcase())


def _punctuation(text: str, chance: random.Random, share: float) -> str:
    kept = "".join(c for c in text if c not in _PUNCTUATION or chance.random() >= share)
    ends = text[-1:] in _PUNCTUATION and chance.random() < share
    return kept.rstrip(_PUNCTUATION) if ends else kept


def _whitespace(text: str, chance: random.Random, share: float) -> str:
    return _each_word(text, chance, share, lambda word, _: f"{word} ")


def _typo(text: str, chance: random.Random, share: float) -> str:
    return _each_word(text, chance, share, _mistyped)


def _mistyped(word: str, chance: random.Random) -> str:
    """Two neighbours changed, or one left out; never in numbers, which would change the question."""
    if len(word) < 4 or not word.isalpha():
        return word
    at = chance.randrange(1, len(word) - 1)
    if chance.random() < 0.5:
        return word[:at] + word[at + 1 :]
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


_NOISES: dict[str, Callable[[str, random.Random, float], str]] = {
    "case": _case,
    "punctuation": _punctuation,
    "whitespace": _whitespace,
    "typo": _typo,
}
