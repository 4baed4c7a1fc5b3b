"""Documents as token ids on disk, in the order in which they were read, until they are packed into rows."""

import os
from array import array
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workers.data.learning import Document

ID_BYTES = 4


class Flat:
    """Ids and what is learned in two files, one after the other; 12 bytes a document are in memory.

    They are read with pread, not mapped: pages of a map would count as our memory.
    """

    def __init__(self, path: Path) -> None:
        self._paths = (path.with_suffix(".ids"), path.with_suffix(".loss"))
        self._files = [one.open("w+b") for one in self._paths]
        self.lengths = array("I")
        self._ends = array("Q", [0])
        self.learned = 0

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def tokens(self) -> int:
        return self._ends[-1]

    def add(self, document: Document) -> None:
        self._files[0].write(array("i", document.ids).tobytes())
        self._files[1].write(bytes(document.loss))
        self.lengths.append(len(document.ids))
        self._ends.append(self._ends[-1] + len(document.ids))
        self.learned += document.loss.count(1)

    def flush(self) -> None:
        for file in self._files:
            file.flush()

    def read(self, document: int) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
        """(ids, loss) of one; `flush` comes before."""
        begin, size = self._ends[document], self.lengths[document]
        ids = os.pread(self._files[0].fileno(), size * ID_BYTES, begin * ID_BYTES)
        loss = os.pread(self._files[1].fileno(), size, begin)
        return np.frombuffer(ids, dtype=np.int32), np.frombuffer(loss, dtype=np.int8)

    def close(self) -> None:
        for file, path in zip(self._files, self._paths, strict=True):
            file.close()
            path.unlink(missing_ok=True)
