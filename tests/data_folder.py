"""Public benchmark files, which the repository does not hold: from PENSTOCK_DATA, or ../shared/data beside it."""

import os
from pathlib import Path

import pytest


def published(name: str) -> Path:
    default = Path(__file__).parents[2] / "shared" / "data"
    path = Path(os.environ.get("PENSTOCK_DATA") or default) / name
    if not path.is_file():
        pytest.skip(
            f"{name}: not at {path.parent} (set PENSTOCK_DATA to the folder of public files)"
        )
    return path
