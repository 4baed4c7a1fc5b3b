"""The second stage: rows are mended, judged, and what is dropped is said with its reason and examples."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from workers.data import prose, repetition, words
from workers.data.alike import Alike
from workers.data.cleaning import Cleaning
from workers.data.conversation import Row
from workers.data.plan import Filters
from workers.data.spool import Place, Spool, canonical, short_digest
from workers.data.telling import Telling

# Of each reason, by line.
EXAMPLES = 5
# Texts shorter than this are too little to say which language they are in.
LANGUAGE_CHARS = 50


@dataclass
class Dropped:
    """How many rows one rule dropped; the first of them, each with what exactly was found."""

    rows: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, file: str, line: int, why: str) -> None:
        self.rows += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append({"file": file, "line": line, "why": why})

    @property
    def told(self) -> dict[str, Any]:
        return {"rows": self.rows, "examples": self.examples}


@dataclass(frozen=True, slots=True)
class Groups:
    """`alive`: which rows stay; `group`: the first row of those that are nearly the same."""

    alive: NDArray[np.bool_]
    group: NDArray[np.int64]


class Filtering:
    """Rows in, those that pass into a spool; then the duplicates among them are found."""

    def __init__(self, filters: Filters, names: list[str], *, groups: bool) -> None:
        """`names`: of the sources, for the examples. `groups`: near-duplicates are asked for by the split too."""
        self.filters = filters
        self._names = names
        self.cleaning = Cleaning(filters)
        self.dropped: dict[str, Dropped] = {}
        self.duplicates = 0
        self._alike = Alike() if groups or filters.near_duplicates else None
        self._languages = (
            LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
            if filters.languages
            else None
        )
        self.digests: NDArray[np.uint64] = np.zeros(0, dtype=np.uint64)

    def drop(self, rule: str, place: Place, why: str) -> None:
        self.dropped.setdefault(rule, Dropped()).add(self._names[place.file], place.line, why)

    def run(self, rows: Spool, passed: Spool, telling: Telling) -> None:
        digests = np.zeros(len(rows), dtype=np.uint64)
        for number, line in rows.rows():
            row = self.cleaning.row(orjson.loads(line))
            telling.row(number + 1)
            place = rows.place(number)
            if broken := self.judge(row):
                self.drop(broken[0], place, broken[1])
                continue
            written = canonical(row)
            digests[len(passed)] = short_digest(written)
            passed.add(written, place)
            if self._alike is not None:
                self._alike.add("\n".join(words.texts(row)))
        self.digests = digests[: len(passed)]

    def judge(self, row: Row) -> tuple[str, str] | None:
        """(rule, what was found) of the first rule that it breaks."""
        if any(not part.strip() for part in _needed(row)):
            return "empty", "nothing is left of what would be learned"
        said = words.learned(row)
        if broken := self._size(row, said):
            return broken
        if self.filters.repetition and (why := repetition.too_repetitive(said)):
            return "repetition", why
        english = self.filters.languages == ["en"]
        if self.filters.quality and (why := prose.poor(said, english=english)):
            return "quality", why
        if self.filters.lines and (why := prose.listlike(said)):
            return "lines", why
        if self._languages is not None and len(said) >= LANGUAGE_CHARS:
            return self._language(said)
        return None

    def _size(self, row: Row, said: str) -> tuple[str, str] | None:
        filters = self.filters
        chars = sum(map(len, words.texts(row)))
        if filters.min_chars and chars < filters.min_chars:
            return "min_chars", f"{chars} characters, under {filters.min_chars}"
        if filters.max_chars and chars > filters.max_chars:
            return "max_chars", f"{chars} characters, over {filters.max_chars}"
        if filters.min_words or filters.max_words:
            count = len(words.words(said))
            if filters.min_words and count < filters.min_words:
                return "min_words", f"{count} words, under {filters.min_words}"
            if filters.max_words and count > filters.max_words:
                return "max_words", f"{count} words, over {filters.max_words}"
        return None

    def _language(self, said: str) -> tuple[str, str] | None:
        assert self._languages is not None
        language, sure = self._languages.classify(said)
        if language in (self.filters.languages or ()) and sure >= self.filters.language_confidence:
            return None
        return "language", f"{language} with {sure:.2f}"

    def groups(self, passed: Spool, telling: Telling) -> Groups:
        """Which rows stay, and which belong together."""
        count = len(passed)
        alive = np.ones(count, dtype=bool)
        _, firsts = np.unique(self.digests, return_index=True)
        again = np.ones(count, dtype=bool)
        again[firsts] = False
        self.duplicates = int(again.sum())
        if self.filters.exact_duplicates:
            self._out(alive, again, "exact_duplicates", "the same as an earlier row", passed)
        group = np.arange(count, dtype=np.int64)
        if self._alike is not None:
            group = self._alike.groups(telling.row)
            if self.filters.near_duplicates:
                near = alive & (group != np.arange(count))
                self._out(
                    alive, near, "near_duplicates", "nearly the same as an earlier row", passed
                )
        return Groups(alive, group)

    def shared_with(self, other: "Filtering") -> int:
        """How many of the other's rows are among ours, to the letter."""
        return int(np.isin(other.digests, self.digests).sum())

    def _out(
        self, alive: NDArray[np.bool_], these: NDArray[np.bool_], rule: str, why: str, passed: Spool
    ) -> None:
        for number in np.flatnonzero(these):
            self.drop(rule, passed.place(int(number)), why)
        alive[these] = False

    @property
    def told(self) -> dict[str, Any]:
        return {rule: found.told for rule, found in sorted(self.dropped.items())}


def _needed(row: Row) -> list[str]:
    """The texts without which a row teaches nothing; mending can empty them."""
    if "chosen" in row:
        sides = [row["chosen"], row["rejected"]]
        return [s if isinstance(s, str) else _spoken(s) for s in sides]
    if "messages" in row:
        return [_spoken([m for m in row["messages"] if m.get("weight") != 0])]
    return [words.learned(row)]


def _spoken(said: list[Row]) -> str:
    return "".join(
        m["content"] + ("call" if "tool_calls" in m else "")
        for m in said
        if m["role"] == "assistant"
    )
