"""What a guard's router needs of this platform: an embedding model that is served and reads its examples whole."""

import asyncio
from dataclasses import dataclass

from api.deps import Parts
from core.catalog import models, tokenizer
from core.catalog.models import MEASURES, Served
from core.errors import InvalidInput
from core.guard.judging import Looks
from core.guard.routing import Similarity
from core.guard.service import Embeds
from core.guard.settings import GuardSettings, Router
from core.guard.vectors import Vectors


@dataclass(frozen=True, slots=True)
class Routes:
    """Whether a router decides now. `why`: what is amiss, and then the classifier is shown all sentences."""

    why: str = ""


async def embeds(parts: Parts, wanted: GuardSettings) -> Embeds | None:
    """The model that a router goes by; None: none decides, or there is no such model. Raises InvalidInput for an
    example that it cannot read whole."""
    router = _deciding(wanted)
    served = None if router is None else await _served(parts)
    if router is None or served is None:
        return None
    await asyncio.to_thread(_check, router, served)
    return Embeds(served.name, served.digest)


async def routes(parts: Parts, settings: GuardSettings) -> Routes | None:
    """None where no router decides."""
    router = _deciding(settings)
    if router is None:
        return None
    served = await _served(parts)
    if served is None or served.digest != router.digest:
        return Routes(
            f"the embedding model {router.model} that it was set for is not served here any more; set the guard again"
        )
    async with parts.db.single() as session:
        if await models.attended(session, served):
            return Routes()
    return Routes("no embedding worker is up; start one (penstock worker embedding)")


async def looks(parts: Parts, settings: GuardSettings) -> Looks | None:
    """For one text; the examples' vectors are there by then, unless nobody gives them. None: no router decides."""
    router = _deciding(settings)
    if router is None:
        return None
    similarity = Similarity(router, Vectors(parts.log.redis, router.digest).of)
    similarity.begin()
    await similarity.begun()
    return similarity.looks


def _deciding(settings: GuardSettings) -> Router | None:
    return None if settings.mode == "off" else settings.router


async def _served(parts: Parts) -> Served | None:
    try:
        found = models.resolve(
            "", await parts.served(), parts.settings, param="router", kind=MEASURES
        )
    except InvalidInput:
        return None
    return found if found.digest else None


def _check(router: Router, served: Served) -> None:
    text = tokenizer.load(served.source)
    for name, examples in (("examples", router.examples), ("contrast", router.contrast)):
        for number, one in enumerate(examples):
            if len(text.encode(one)) > served.context:
                raise InvalidInput(
                    f"router.{name}.{number}: {served.name} reads {served.context} tokens; shorten it",
                    param=f"router.{name}.{number}",
                )
