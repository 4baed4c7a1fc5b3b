"""Whether a text is prose at all: Gopher's quality rules, and FineWeb's for lists and menus.

Gopher: Rae et al. 2021 (arXiv 2112.11446), A1.1. FineWeb: Penedo et al. 2024 (arXiv 2406.17557), section 3.6. C4's
own rules (Raffel et al. 2020, 2.2) that FineWeb kept are those against placeholder text.
"""

from collections.abc import Callable

# Gopher: mean length of a word, in characters.
WORD_LENGTH = (3.0, 10.0)
# Gopher: # and ... for each word; lines that are bullets, or end with ...; words with a letter in them.
SYMBOLS, BULLETS, ELLIPSES, LETTERED = 0.1, 0.9, 0.3, 0.8
# Gopher: two of these at least; it is a rule for English, so it is asked of nothing else.
STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})
LEAST_STOP_WORDS = 2
# FineWeb: lines that end as a sentence does, characters in lines said before, lines under 30 characters.
ENDED, REPEATED, SHORT = 0.12, 0.1, 0.67
SHORT_LINE = 30
_ENDS = (".", "!", "?", '"', "'", "\u201d", "\u2019", "\u2026", "\u3002", "\uff01", "\uff1f")
_BULLETS = (
    "-",
    "*",
    "\u2022",
    "\u2023",
    "\u25cf",
    "\u25cb",
    "\u25a0",
    "\u25aa",
    "\u25ab",
    "\u2013",
)
# C4: "discarded any page" with this.
PLACEHOLDERS = ("lorem ipsum",)


def poor(text: str, *, english: bool) -> str | None:
    """Which of Gopher's rules, or C4's, it breaks; None for prose."""
    said = text.split()
    if not said:
        return "no_words"
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if any(mark in text.lower() for mark in PLACEHOLDERS):
        return "placeholder text"
    length = sum(map(len, said)) / len(said)
    symbols = (text.count("#") + text.count("...") + text.count("\u2026")) / len(said)
    lettered = sum(any(map(str.isalpha, word)) for word in said) / len(said)
    low, high = WORD_LENGTH
    stops = len(STOP_WORDS & {word.lower().strip(".,;:!?\"'") for word in said})
    found = [
        ("mean_word_length", not low <= length <= high, f"{length:.1f} outside {low} to {high}"),
        ("symbols", symbols > SYMBOLS, f"{symbols:.2f} a word, over {SYMBOLS}"),
        ("bullets", _share(lines, _BULLETS, str.startswith) > BULLETS, f"over {BULLETS} of lines"),
        (
            "ellipses",
            _share(lines, ("...", "\u2026"), str.endswith) > ELLIPSES,
            f"over {ELLIPSES} of lines",
        ),
        ("letters", lettered < LETTERED, f"in {lettered:.2f} of words, under {LETTERED}"),
        ("stop_words", english and stops < LEAST_STOP_WORDS, f"{stops}, under {LEAST_STOP_WORDS}"),
    ]
    return next((f"{name} {why}" for name, broken, why in found if broken), None)


def listlike(text: str) -> str | None:
    """Which of FineWeb's line rules it breaks."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if not lines:
        return None
    ended = _share(lines, _ENDS, str.endswith)
    if ended <= ENDED:
        return f"lines_without_end: {ended:.2f} end a sentence, not over {ENDED}"
    chars = sum(map(len, lines))
    again = (chars - sum(map(len, set(lines)))) / chars
    if again > REPEATED:
        return f"repeated_lines {again:.2f} of characters, over {REPEATED}"
    short = sum(len(line) < SHORT_LINE for line in lines) / len(lines)
    if short > SHORT:
        return f"short_lines {short:.2f}, over {SHORT}"
    return None


def _share(
    lines: list[str], marks: tuple[str, ...], has: Callable[[str, tuple[str, ...]], bool]
) -> float:
    return sum(has(line, marks) for line in lines) / max(len(lines), 1)
