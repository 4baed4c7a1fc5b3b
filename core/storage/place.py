"""The store that the settings name."""

from pathlib import Path

from core.config import Settings
from core.storage.bucket import Bucket
from core.storage.folder import Folder
from core.storage.seam import Storage


def storage_of(settings: Settings) -> Storage:
    """PENSTOCK_STORAGE_URL: s3://bucket/prefix, or a folder."""
    if settings.storage_url.startswith("s3://"):
        return Bucket(settings)
    return Folder(Path(settings.storage_url.removeprefix("file://")))
