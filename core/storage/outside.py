"""Objects that others keep in S3 buckets, copied to a file here: what data jobs read, where an operator allows it."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import obstore

from core.config import Settings
from core.errors import InvalidInput, NotFound
from core.storage.bucket import READ, store_of, told


def allowed(uri: str, settings: Settings) -> SplitResult:
    """Raises InvalidInput for what is no s3:// address, or none of PENSTOCK_DATA_BUCKETS.

    Objects are read with the platform's own keys, so that only the operator can say which.
    """
    url = urlsplit(uri)
    if url.scheme != "s3" or not url.netloc or url.query or url.fragment:
        raise InvalidInput(f"{uri} must be s3://bucket/key, or s3://bucket/prefix/", param="uri")
    steps = url.path.split("/")
    for prefix in settings.data_buckets:
        if ".." not in steps and (uri == prefix or uri.startswith(prefix.rstrip("/") + "/")):
            return url
    raise InvalidInput(
        f"{uri} may not be read here; the operator names what may in PENSTOCK_DATA_BUCKETS",
        param="uri",
    )


async def keys(uri: str, settings: Settings) -> Sequence[str]:
    """The address itself, or for one that ends in / all objects below it, in order. Raises NotFound for none."""
    url = allowed(uri, settings)
    if not url.path.endswith("/"):
        return [uri]
    store, found = store_of(settings, url.netloc), []
    with told():
        async for page in obstore.list(store, url.path.strip("/") or None):
            found += [f"s3://{url.netloc}/{one['path']}" for one in page if one["size"]]
    if not found:
        raise NotFound(f"There is nothing under {uri}.", code="source_not_found")
    return sorted(found)


async def copied(uri: str, settings: Settings, into: Path) -> None:
    """Raises NotFound, or Unavailable while the store is away. A few MiB are in memory."""
    url = allowed(uri, settings)
    store, key = store_of(settings, url.netloc), url.path.strip("/")
    try:
        with told(reading=True):
            size, at = int((await obstore.head_async(store, key))["size"]), 0
        with into.open("wb") as file:
            while at < size:
                with told(reading=True):
                    piece = await obstore.get_range_async(
                        store, key, start=at, end=min(size, at + READ)
                    )
                file.write(piece)
                at += len(piece)
    except NotFound as error:
        raise NotFound(f"There is no {uri}.", code="source_not_found") from error
