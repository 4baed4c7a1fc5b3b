"""Which files a suite reads: those that were uploaded, or its own pack where there are none."""

from collections.abc import Collection, Mapping
from pathlib import Path

from core.audits.suite import Files
from core.errors import InvalidInput

# What a suite calls its file where it has one alone.
DATA = "data"


def given(files: Files, known: Collection[str], pack: Mapping[str, Path] | None = None) -> Files:
    """`files`, or `pack` where there are none; `known`: the suite's names, of which the first must be given where it
    has no pack. Raises InvalidInput naming the file."""
    names = list(known)
    for name in files:
        if name not in names:
            raise InvalidInput(
                f"files: this suite has no file {name!r}; name it {' or '.join(names)}",
                param=f"files.{name}",
            )
    if files:
        return files
    if pack is None:
        raise InvalidInput(
            f"files: this suite needs a file {names[0]!r}; upload one (purpose evals) and name it",
            param=f"files.{names[0]}",
        )
    return pack
