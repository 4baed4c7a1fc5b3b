"""Simple encodings of the terms of severe lists: base64, hexadecimal, percent signs. A run is decoded and looked at.

Rotation by 13 and backwards are terms of the tree themselves (core/guard/lexicon.py).
"""

import base64
import binascii
import re
import string
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from core.guard.folding import seen
from core.guard.lexicon import Tree
from core.guard.rule import Rule, opening

_BASE64 = string.ascii_letters + string.digits + "+/_-="
_BYTES = re.compile(r"(?:0x|\\x|\\u00)?([0-9A-Fa-f]{2})")
_PERCENT = string.ascii_letters + string.digits + "%._~+-"
# A byte as programs write and print it.
_BYTE = r"(?:0x|\\x|\\u00)?[0-9A-Fa-f]{2}"
# A run is as long at most; a longer one is let through, as a file may be.
RUN = 600
# Bytes that stand apart are looked at so many at a time, from each on: a table of numbers need not wait for its end.
BYTES = 32
# Of what was decoded, so much must be text: chance makes few printable characters in a row.
_TEXT = 0.8


def rules(tree: Tree) -> tuple[Rule, ...]:
    """Rules for runs that, decoded, hold a term of `tree`. Their category is that of the term that ships them."""
    return (
        Rule(
            "encoded",
            re.compile(rf"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{{8,{RUN}}}={{0,2}}"),
            RUN + 3,
            _BASE64,
            opening("(?<![A-Za-z0-9+/_-])", "[A-Za-z0-9+/_-]"),
            _check(tree, _base64),
        ),
        Rule(
            "encoded",
            re.compile(rf"(?<![0-9A-Fa-f])(?:[0-9A-Fa-f]{{2}}){{5,{RUN // 2}}}(?![0-9A-Fa-f])"),
            RUN + 1,
            string.hexdigits,
            opening("(?<![0-9A-Fa-f])", "[0-9A-Fa-f]"),
            _check(tree, _hexadecimal),
        ),
        Rule(
            "encoded",
            re.compile(
                rf"(?<![0-9A-Fa-f]){_BYTE}(?:[ ,:-]{{0,2}}{_BYTE}){{4,{BYTES - 1}}}(?![0-9A-Fa-f])"
            ),
            # Each byte with what marks it as one, and what stands between two.
            BYTES * 8 + 1,
            string.hexdigits + "\\xu ,:-",
            opening("(?<![0-9A-Fa-f])", r"[0-9A-Fa-f\\]", r"[0-9A-Fa-fxu]"),
            _check(tree, _hexadecimal),
        ),
        Rule(
            "encoded",
            re.compile(rf"(?<![A-Za-z0-9%._~+-])[A-Za-z0-9%._~+-]{{6,{RUN}}}"),
            RUN + 1,
            _PERCENT,
            opening("(?<![A-Za-z0-9%._~+-])", "[A-Za-z0-9%._~+-]"),
            _check(tree, _percent),
            needs="%",
        ),
    )


def _check(tree: Tree, decoded: Callable[[str], list[bytes]]) -> Callable[[str], int]:
    def check(run: str) -> int:
        """A run is whole or it is nothing."""
        return len(run) if any(_holds(tree, raw) for raw in decoded(run)) else 0

    return check


def _holds(tree: Tree, raw: bytes) -> bool:
    text = raw.decode(errors="replace")
    sound = sum((char.isprintable() and char != "\ufffd") or char.isspace() for char in text)
    if not text or sound < _TEXT * len(text):
        return False
    return bool(tree.walked(seen(text).text, 0, final=True)[0])


def _base64(run: str) -> list[bytes]:
    """At each of the four places where a group may begin: what stands before it may be part of the run."""
    plain = run.rstrip("=").replace("-", "+").replace("_", "/")
    # A word in one case is no base64 of a text: nearly every group of four holds both.
    if plain.islower() or plain.isupper() or plain.isdigit() or plain[1:].islower():
        return []
    out = []
    for skip in range(4):
        part = plain[skip:]
        part = part[: len(part) // 4 * 4] if len(part) % 4 == 1 else part
        try:
            out.append(base64.b64decode(part + "=" * (-len(part) % 4)))
        except (ValueError, binascii.Error):
            continue
    return out


def _hexadecimal(run: str) -> list[bytes]:
    return [bytes.fromhex("".join(_BYTES.findall(run)))]


def _percent(run: str) -> list[bytes]:
    return [unquote_to_bytes(run.replace("+", " "))] if "%" in run else []
