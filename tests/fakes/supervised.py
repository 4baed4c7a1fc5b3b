"""A supervisor over fake children, as a process of its own, for tests that signal and kill it.

supervised.py FOLDER NAME=HOW...: the children come in the order given, one stage each.
While FOLDER/NAME.broken exists, NAME cannot be started.
"""

import os
import sys
from pathlib import Path

from infra.folder import locked, open_folder
from infra.part import Part, PartFailed
from infra.supervisor import Stage, Supervision, supervise

CHILD = Path(__file__).with_name("child.py")


def part(folder: Path, name: str, how: str, rank: int) -> Part:
    sign = folder / f"{name}.sign"
    return Part(
        name=name,
        argv=[sys.executable, str(CHILD), str(sign), how],
        env=dict(os.environ),
        log=folder / "logs" / f"{name}.log",
        ready=sign.exists,
        prepare=lambda: prepare(sign),
        grace_s=0.5 if how == "stubborn" else 3600.0,
        stop_rank=rank,
    )


def prepare(sign: Path) -> None:
    sign.unlink(missing_ok=True)
    if sign.with_suffix(".broken").exists():
        raise PartFailed("its data are damaged")


def main() -> None:
    folder = open_folder(Path(sys.argv[1]))
    pairs = [argument.split("=") for argument in sys.argv[2:]]
    parts = [part(folder, name, how, rank) for rank, (name, how) in enumerate(pairs)]
    with locked(folder):
        supervise(Supervision(folder, [Stage([p]) for p in parts], lambda: {"base_url": "none"}))


if __name__ == "__main__":
    main()
