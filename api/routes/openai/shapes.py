"""What all routes of OpenAI's surface depend on; the shapes themselves are core/openai's."""

import re

from fastapi import Depends, Request
from fastapi.routing import APIRoute

from core.errors import InvalidInput

# How clients of this surface write a filter by a pair of metadata: ?metadata[key]=value.
_FILTER = re.compile(r"metadata\[.+\]")


async def _known(request: Request) -> None:
    """Refuse query parameters by name that nobody would look at. Raises InvalidInput."""
    route = request.scope["route"]
    assert isinstance(route, APIRoute)
    known = {parameter.alias for parameter in route.dependant.query_params}
    for name in request.query_params:
        if name not in known and not (_FILTER.fullmatch(name) and "metadata" in known):
            raise InvalidInput(f"{name[:64]} is not supported here; leave it out", param=name[:64])


async def _openai(request: Request) -> None:
    """Clients of this surface know 400, where the native one says 422 (api/errors.py)."""
    request.state.invalid_status = 400
    await _known(request)


KNOWN = Depends(_known)
OPENAI = Depends(_openai)
