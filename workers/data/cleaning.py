"""Mending that rows get before anything judges them; how many rows each mended is counted."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable

import ftfy

from workers.data import words
from workers.data.conversation import Row
from workers.data.plan import Filters

# C0 and C1 without tab and newline, DEL, the byte order mark, and noncharacters; a carriage return has its own rule.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff\ufdd0-\ufdef\ufffe\uffff]")
_LINE_END = re.compile("\r\n?")
_BLANKS = re.compile(r"[ \t]+(?=\n|$)")
_GAPS = re.compile(r"\n{3,}")
# Without curling quotes or ligatures: those are what the author wrote.
_MEND = ftfy.TextFixerConfig(
    uncurl_quotes=False, fix_latin_ligatures=False, fix_character_width=False, unescape_html=False,
    remove_terminal_escapes=False, remove_control_chars=False, fix_line_breaks=False, normalization=None,
)  # fmt: skip


def _control(text: str) -> str:
    return text if text.isprintable() else _CONTROL.sub("", _LINE_END.sub("\n", text))


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _mended(text: str) -> str:
    return text if text.isascii() else ftfy.fix_text(text, _MEND)


def _tidied(text: str) -> str:
    return _GAPS.sub("\n\n", _BLANKS.sub("", text)).strip()


class Cleaning:
    """What the filters ask for, in the order in which it must be done."""

    def __init__(self, filters: Filters) -> None:
        steps: list[tuple[str, bool, Callable[[str], str]]] = [
            ("mojibake", filters.mojibake, _mended),
            ("control", filters.control, _control),
            ("unicode", filters.unicode, _composed),
            ("whitespace", filters.whitespace, _tidied),
        ]
        self._steps = [(name, change) for name, wanted, change in steps if wanted]
        self.changed: Counter[str] = Counter({name: 0 for name, _ in self._steps})

    def row(self, row: Row) -> Row:
        for name, change in self._steps:
            after = words.mapped(row, change)
            if after != row:
                self.changed[name] += 1
            row = after
        return row
