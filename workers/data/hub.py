"""Rows of a Hugging Face dataset as they stream in; the only module that imports `datasets`."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
from datasets.exceptions import DatasetNotFoundError

from workers.data.plan import Source
from workers.data.problems import whole

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}")


def rows(source: Source, param: str) -> Iterator[tuple[int, Any]]:
    """(number, row). A folder is read as one of a hub would be. Raises Invalid.

    No code of a dataset runs (`datasets` 4 and later know no loading scripts), and none of our keys is sent, so
    that nobody reads what is private to us.
    """
    place = source.path or source.hub or ""
    if source.hub and (not _NAME.fullmatch(place) or Path(place).exists()):
        raise whole(place, "is not the name of a hub's dataset: owner/name", param=param)
    try:
        stream = datasets.load_dataset(
            place,
            source.config,
            split=source.split,
            revision=source.revision,
            streaming=True,
            token=False,
        )
        yield from enumerate(iter(stream), 1)
    except (DatasetNotFoundError, FileNotFoundError) as error:
        raise whole(
            source.called, "is not to be found, or not open to everybody", param=param
        ) from error
    except (ValueError, TypeError, OSError) as error:
        # An unknown split or configuration, a broken file: its first line says which.
        raise whole(
            source.called, f"cannot be read: {str(error).partition(chr(10))[0]}", param=param
        ) from error
