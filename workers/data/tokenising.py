"""The third stage: rows as token ids, cut where they are too long, and written as the trainer reads them."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from core.catalog.tokenizer import Text
from core.errors import InvalidInput
from workers.data import learning
from workers.data.arrow import Writer
from workers.data.conversation import Row
from workers.data.filtering import Dropped
from workers.data.learning import Document, Preference
from workers.data.packing import packed
from workers.data.problems import Problems
from workers.data.tokens import Flat

SUPERVISED = {"input_ids": "int32", "loss": "int8", "segments": "int32"}
DPO = {"prompt_ids": "int32", "chosen_ids": "int32", "rejected_ids": "int32"}


@dataclass
class Cut:
    """Rows that were longer than the most that is taken: shortened, or of no use then."""

    truncated: Dropped = field(default_factory=Dropped)
    too_long: Dropped = field(default_factory=Dropped)


class Tokenising:
    """Rows of one part, training or validation. Wrong ones are told to `problems`."""

    def __init__(self, text: Text, most: int, problems: Problems, cut: Cut) -> None:
        self._text = text
        self._most = most
        self._problems = problems
        self._cut = cut

    def documents(self, row: Row, file: str, line: int) -> Iterator[Document]:
        """None of them is longer than the most; each has something that is learned."""
        try:
            made = learning.documents(row, self._text)
        except InvalidInput as error:
            self._problems.add(file, line, error.param or "", error.message)
            return
        for document in made:
            if len(document.ids) <= self._most:
                yield document
            elif "text" in row:
                yield from self._windows(document)
            else:
                yield from self._shortened(document, file, line)

    def _windows(self, document: Document) -> Iterator[Document]:
        """A long text is several, one after the other: nothing of it is lost."""
        for at in range(0, len(document.ids), self._most):
            loss = document.loss[at : at + self._most]
            loss[0] = 0
            if any(loss):
                yield Document(document.ids[at : at + self._most], loss)

    def _shortened(self, document: Document, file: str, line: int) -> Iterator[Document]:
        loss, most = document.loss[: self._most], self._most
        if any(loss):
            self._cut.truncated.add(file, line, f"{len(document.ids)} tokens, over {most}")
            yield Document(document.ids[:most], loss)
        else:
            why = f"{len(document.ids)} tokens; nothing that is learned lies in the first {most}"
            self._cut.too_long.add(file, line, why)

    def preference(self, row: Row, file: str, line: int) -> Preference | None:
        try:
            made = learning.preference(row, self._text)
        except InvalidInput as error:
            self._problems.add(file, line, error.param or "", error.message)
            return None
        size = len(made.prompt) + max(len(made.chosen), len(made.rejected))
        if size <= self._most:
            return made
        room = self._most - len(made.prompt)
        chosen, rejected = made.chosen[: max(room, 0)], made.rejected[: max(room, 0)]
        if room < 1 or chosen == rejected:
            self._cut.too_long.add(
                file, line, f"{size} tokens; in the first {self._most} the answers do not differ"
            )
            return None
        self._cut.truncated.add(file, line, f"{size} tokens, over {self._most}")
        return Preference(made.prompt, chosen, rejected)


def write_packed(
    folder: Path, flat: Flat, most: int, fingerprint: str, *, pack: bool
) -> "array[int]":
    """The rows of the trainer; returns their lengths."""
    flat.flush()
    writer = Writer(folder, SUPERVISED)
    lengths = array("I")
    for documents in _rows(flat, most, pack=pack):
        read = [flat.read(one) for one in documents]
        writer.add(
            np.concatenate([ids for ids, _ in read]),
            np.concatenate([loss for _, loss in read]),
            np.array([len(ids) for ids, _ in read], dtype=np.int32),
        )
        lengths.append(sum(len(ids) for ids, _ in read))
    writer.close(fingerprint)
    return lengths


def _rows(flat: Flat, most: int, *, pack: bool) -> Iterator[list[int]]:
    """The documents of each row, in the order in which they were read."""
    if not pack:
        yield from ([number] for number in range(len(flat)))
        return
    row_of, count = packed(flat.lengths, most)
    rows = np.frombuffer(row_of, dtype=np.dtype(f"u{row_of.itemsize}"))
    order = np.argsort(rows, kind="stable")
    starts = np.searchsorted(rows[order], np.arange(count + 1))
    for begin, end in pairwise(starts):
        yield [int(one) for one in order[begin:end]]


class Pairs:
    """Preferences as the trainer reads them, written as they come."""

    def __init__(self, folder: Path) -> None:
        self._writer = Writer(folder, DPO)
        self.lengths = array("I")
        self.tokens = self.learned = 0

    def add(self, pair: Preference) -> None:
        sides = (pair.prompt, pair.chosen, pair.rejected)
        self._writer.add(*(np.array(ids, dtype=np.int32) for ids in sides))
        self.lengths.append(len(pair.prompt) + max(len(pair.chosen), len(pair.rejected)))
        self.tokens += sum(map(len, sides))
        self.learned += len(pair.chosen) + len(pair.rejected)

    def close(self, fingerprint: str) -> None:
        self._writer.close(fingerprint)
