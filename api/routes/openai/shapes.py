"""What all routes of OpenAI's surface depend on; the shapes themselves are core/openai's."""

from fastapi import Depends, Request


async def _openai(request: Request) -> None:
    """Clients of this surface know 400, where the native one says 422 (api/errors.py)."""
    request.state.invalid_status = 400


OPENAI = Depends(_openai)
