"""Words of a text as the built-in classifiers see them, and what each of them is made of."""

import json
import re
import unicodedata
import zlib
from functools import lru_cache
from pathlib import Path

BUCKETS = 2**15
CLASSES = Path(__file__).parent / "word_classes.json"
WORD = re.compile(r"\[slur\]|\w+(?:'\w+)?|[!?]")
# Pieces of a word, its ends marked by < and >.
SMALLEST_PIECE, LARGEST_PIECE = 3, 5


def words(text: str) -> list[str]:
    """Compatibility forms folded, case dropped, curly apostrophes straight."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    return WORD.findall(plain)


def bucket(kind: str, name: str) -> int:
    """Of a feature: the same in every process and on every machine, unlike Python's own hash."""
    return zlib.crc32(f"{kind}:{name}".encode()) % BUCKETS


def _read() -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """Whole words and beginnings (written with a star) -> their classes."""
    whole: dict[str, tuple[str, ...]] = {}
    begun: dict[str, tuple[str, ...]] = {}
    for name, members in json.loads(CLASSES.read_text(encoding="utf-8")).items():
        for member in members.split():
            into = begun if member.endswith("*") else whole
            key = member.rstrip("*")
            into[key] = (*into.get(key, ()), name)
    return whole, begun


WHOLE, BEGUN = _read()


@lru_cache(maxsize=65536)
def classes(word: str) -> tuple[str, ...]:
    """Such as ("HARM",) of "kills"; a word that is listed whole is not looked up by its beginning."""
    if word in WHOLE:
        return WHOLE[word]
    for length in range(len(word), 2, -1):
        if found := BEGUN.get(word[:length]):
            return found
    return ()


@lru_cache(maxsize=65536)
def pieces(word: str) -> tuple[int, ...]:
    """Buckets of the word's character n-grams."""
    marked = f"<{word}>"
    return tuple(
        bucket("piece", marked[at : at + size])
        for size in range(SMALLEST_PIECE, LARGEST_PIECE + 1)
        for at in range(len(marked) - size + 1)
    )


@lru_cache(maxsize=65536)
def own(word: str) -> int:
    return bucket("word", word)


@lru_cache(maxsize=65536)
def pair(kind: str, first: str, second: str) -> int:
    return bucket(kind, f"{first} {second}")
