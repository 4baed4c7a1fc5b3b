"""The scratch of one run: files between stages, closed and gone at its end, however it ends."""

import shutil
from contextlib import ExitStack
from pathlib import Path

from workers.data.spool import Spool
from workers.data.tokens import Flat


class Work:
    """A folder inside of what is made, so that both are on one disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open = ExitStack()

    def __enter__(self) -> "Work":
        self.folder.mkdir(parents=True)
        self._open.callback(shutil.rmtree, self.folder, ignore_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def spool(self, name: str) -> Spool:
        made = Spool(self.folder / name)
        self._open.callback(made.close)
        return made

    def flat(self, name: str) -> Flat:
        made = Flat(self.folder / name)
        self._open.callback(made.close)
        return made
