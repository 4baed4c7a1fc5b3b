"""Our own small packs, in the published formats: what a suite asks when no file is given."""

from collections.abc import Iterable
from pathlib import Path

from core.audits.suite import Files
from core.errors import InvalidInput

PACKS = Path(__file__).parent / "packs"
DATA = "data"


def given(files: Files, known: Iterable[str], pack: dict[str, str]) -> Files:
    """The uploaded files, or those of our own pack where there are none. Raises InvalidInput for a name that the
    suite does not have."""
    names = sorted(known)
    for name in files:
        if name not in names:
            raise InvalidInput(
                f"files: there is no file {name!r} in this suite; name it one of {', '.join(names)}",
                param=f"files.{name}",
            )
    return files or {name: PACKS / file for name, file in pack.items()}
