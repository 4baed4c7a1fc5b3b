"""The checks between a well-formed body and 202: is the model there, does the prompt fit."""

import asyncio

from api.deps import Parts
from core.catalog import models, tokenizer
from core.catalog.models import Served
from core.jobs.inference import check_length
from core.jobs.kinds import JobSpec

# A token is at least one byte, and a chat template adds some: below this bound nothing is counted.
_TEMPLATE_BYTES = 256
_INLINE_BYTES = 4000


async def admit(parts: Parts, spec: JobSpec, *, param: str) -> Served:
    """The model a job will run on. Raises InvalidInput naming the field at fault."""
    model = models.resolve(spec.model, await parts.served(), parts.settings, param=param)
    size = len((spec.prompt or "").encode()) + sum(
        len(m.content.encode()) + _TEMPLATE_BYTES for m in spec.messages or ()
    )
    if spec.prompt is not None and size + spec.max_tokens + 8 <= model.context:
        return model
    text = await asyncio.to_thread(tokenizer.load, model.source)
    body = spec.model_dump(include={"prompt", "messages"})
    if size <= _INLINE_BYTES:
        ids = tokenizer.prompt_ids(text, body)
    else:
        ids = await asyncio.to_thread(tokenizer.prompt_ids, text, body)
    check_length(len(ids), spec.max_tokens, model.context)
    return model
