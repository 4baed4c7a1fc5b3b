"""Gopher's rules for text that repeats itself: how much of it lies in lines, paragraphs and n-grams said before.

Rae et al. 2021 (arXiv 2112.11446), Table A1: the numbers below are that table's. They were made for documents of
at least 50 words (MIN_WORDS, the same paper's A1.1); shorter texts are not judged.
"""

from collections import Counter
from collections.abc import Sequence

from workers.data.words import words

MIN_WORDS = 50
# Shares above these are too much. Of lines and paragraphs by number, and by characters.
LINES, LINE_CHARS = 0.30, 0.20
PARAGRAPHS, PARAGRAPH_CHARS = 0.30, 0.20
# Of characters in the commonest n-gram, and in all n-grams that stand more than once.
TOP_NGRAM = {2: 0.20, 3: 0.18, 4: 0.16}
REPEATED_NGRAMS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}


def too_repetitive(text: str) -> str | None:
    """Which rule it breaks, with the share and its limit; None for sound text."""
    said = words(text)
    if len(said) < MIN_WORDS:
        return None
    lines = [line for line in text.split("\n") if line.strip()]
    paragraphs = [part for part in text.split("\n\n") if part.strip()]
    found = [
        ("duplicate_paragraphs", _by_number(paragraphs), PARAGRAPHS),
        ("duplicate_paragraph_chars", _by_chars(paragraphs), PARAGRAPH_CHARS),
        ("duplicate_lines", _by_number(lines), LINES),
        ("duplicate_line_chars", _by_chars(lines), LINE_CHARS),
        *((f"top_{n}_gram", _top(said, n), most) for n, most in TOP_NGRAM.items()),
        *(
            (f"duplicate_{n}_grams", _repeated(said, n), most)
            for n, most in REPEATED_NGRAMS.items()
        ),
    ]
    return next(
        (f"{name} {share:.2f} over {most}" for name, share, most in found if share > most), None
    )


def _by_number(parts: Sequence[str]) -> float:
    return (len(parts) - len(set(parts))) / max(len(parts), 1)


def _by_chars(parts: Sequence[str]) -> float:
    counts = Counter(parts)
    again = sum(len(part) * (count - 1) for part, count in counts.items())
    return again / max(sum(map(len, parts)), 1)


def _top(said: Sequence[str], n: int) -> float:
    """Characters are those of words: blanks between them are nobody's."""
    counts = Counter(zip(*(said[i:] for i in range(n)), strict=False))
    gram, count = max(counts.items(), key=lambda one: (one[1], sum(map(len, one[0]))))
    if count < 2:
        return 0.0
    return sum(map(len, gram)) * count / max(sum(map(len, said)), 1)


def _repeated(said: Sequence[str], n: int) -> float:
    """Each word counts once, however many of the repeated n-grams it is in."""
    seen: set[tuple[str, ...]] = set()
    again = bytearray(len(said))
    for at, gram in enumerate(zip(*(said[i:] for i in range(n)), strict=False)):
        if gram in seen:
            again[at : at + n] = b"\1" * n
        seen.add(gram)
    chars = sum(len(word) for word, twice in zip(said, again, strict=True) if twice)
    return chars / max(sum(map(len, said)), 1)
