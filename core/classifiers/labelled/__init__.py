"""Lines with labels, written for this project: half of their groups train the built-in classifiers, half measure them.

A group is a set of contrasts around one word ("kill a Python process", "kill my neighbour"). Its lines are alike, so
they are all on one side of the split; which side follows from the group's name.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import InvalidInput

HEAD = ["group", "labels", "text"]
MODERATION = Path(__file__).parent / "moderation.tsv"
REFUSAL = Path(__file__).parent / "refusal.tsv"


@dataclass(frozen=True, slots=True)
class Line:
    """`labels`: empty, when nothing applies ("none" in the file of the moderation lines)."""

    group: str
    labels: frozenset[str]
    text: str

    @property
    def held_out(self) -> bool:
        return hashlib.sha256(self.group.encode()).digest()[0] % 2 == 1


def lines(path: Path, categories: tuple[str, ...]) -> Iterator[Line]:
    """Tab-separated: group, labels (comma between them), text, in which \\n is a line break. Raises InvalidInput."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            cells = line.rstrip("\n").split("\t")
            where = f"{path.name}, line {number}"
            if number == 1:
                if cells != HEAD:
                    raise InvalidInput(f"{where}: the columns are to be {', '.join(HEAD)}")
                continue
            if len(cells) != len(HEAD) or not all(cells):
                raise InvalidInput(f"{where}: {len(HEAD)} columns, none of them empty, are needed")
            labels = frozenset(cells[1].split(","))
            if "none" not in categories:
                labels -= {"none"}
            if unknown := labels - set(categories):
                raise InvalidInput(
                    f"{where}, labels: {', '.join(sorted(unknown))} is none of {', '.join(categories)}"
                )
            yield Line(cells[0], labels, cells[2].replace("\\n", "\n"))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
