"""Whether a text holds another one: exactly, by a word, in disguise, or in part."""

import base64
import binascii
import re
import unicodedata
from difflib import SequenceMatcher

BASE64 = re.compile(r"[A-Za-z0-9+/]{8,}={0,2}")
# Shorter runs in common are chance: "the", "12".
SHORTEST = 4


def plain(text: str) -> str:
    """Letters and digits alone, in one case: "PSK-12 a" and "psk12A" are the same."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(sign for sign in folded if sign.isalnum())


def holds(text: str, wanted: str) -> bool:
    return plain(wanted) in plain(text)


def mentions(text: str, word: str) -> bool:
    """As a word or the beginning of one: "urchin" in "urchins", but "6" neither in "16" nor in "61"."""
    end = r"(?!\d)" if word[-1:].isdigit() else ""
    return re.search(rf"(?<!\w){re.escape(word.casefold())}{end}", text.casefold()) is not None


def disguises(text: str) -> list[str]:
    """The text as it is, backwards, and what stands in it as base64."""
    found = [text, text[::-1]]
    for run in BASE64.findall(text):
        try:
            found.append(base64.b64decode(run + "=" * (-len(run) % 4)).decode())
        except (binascii.Error, UnicodeDecodeError):
            continue
    return found


def extent(text: str, secret: str) -> float:
    """The longest run of the secret's letters and digits that the text has, as a share of all; 0 below SHORTEST."""
    wanted = plain(secret)
    if not wanted:
        return 0.0
    longest = max(_common(plain(one), wanted) for one in disguises(text))
    return longest / len(wanted) if longest >= min(SHORTEST, len(wanted)) else 0.0


def _common(text: str, wanted: str) -> int:
    # autojunk would pass over letters that are frequent in long texts.
    matcher = SequenceMatcher(None, text, wanted, autojunk=False)
    return matcher.find_longest_match().size
