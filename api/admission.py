"""The checks between a well-formed body and 202: is the model there, does the prompt fit."""

import asyncio

from api.deps import Parts
from core.catalog import models, tokenizer
from core.catalog.models import Served
from core.jobs import caching, embedding
from core.jobs.inference import check, check_length, needs_text, template_input
from core.jobs.kinds import (
    AuditJob,
    DatasetJob,
    EmbeddingJob,
    ExplainJob,
    FinetuneJob,
    InferenceJob,
    JobSpec,
)
from core.ledger import caps
from core.security.keys import Caller
from core.studies import cases
from core.studies.recorded import recorded

# A token is at least one byte, and a chat template adds some: below this bound nothing is counted.
_TEMPLATE_BYTES = 256
_INLINE_BYTES = 4000


async def admit(parts: Parts, caller: Caller, spec: JobSpec, *, param: str) -> Served:
    """The model a job will run on. Raises InvalidInput, NotFound naming the field at fault."""
    # What only measures a model, or trains on it, may have one that the gate lets answer nobody.
    aside = isinstance(spec, FinetuneJob | DatasetJob | AuditJob | ExplainJob)
    kind = models.WRITES if aside else spec.kind
    audited = await _audited(parts, caller, spec)
    # Who names no model beside an audit's item asks about the one that answered so.
    wanted = spec.model or audited
    model = await parts.resolve(caller, wanted, param=param, kind=kind, to_answer=not aside)
    await admit_to(model, spec)
    return model


async def admit_to(model: Served, spec: JobSpec) -> None:
    """Raises InvalidInput when `model` cannot serve this spec, or its caps leave nothing to serve."""
    match spec:
        case InferenceJob():
            await _admit_inference(model, spec)
        case EmbeddingJob():
            await _admit_embedding(model, spec)
        case FinetuneJob() | DatasetJob():
            return  # its data are read by the job
        case ExplainJob():
            await _admit_explain(model, spec)
        case AuditJob():
            return  # what it is bound to is looked for with the tenant's rows (api/audits.py)


async def _audited(parts: Parts, caller: Caller, spec: JobSpec) -> str:
    """The model of the audit whose item is to be explained; "" for any other job. Raises NotFound naming the field."""
    if not isinstance(spec, ExplainJob) or spec.audit is None:
        return ""
    async with parts.db.single() as session:
        return (await recorded(session, caller, spec.audit)).audit.model


async def _admit_explain(model: Served, spec: ExplainJob) -> None:
    if spec.audit is not None:
        return  # it is there (see _audited); its files are read by the job
    text = await asyncio.to_thread(tokenizer.load, model.source)
    await asyncio.to_thread(cases.admit, spec, text, model.context)


async def _admit_embedding(model: Served, spec: EmbeddingJob) -> None:
    embedding.check(spec, model)
    text = await asyncio.to_thread(tokenizer.load, model.source)
    ids = await embedding.counted(spec, text, model.context)
    caps.check(spec, sum(map(len, ids)), 0, model.prices)


async def _admit_inference(model: Served, spec: InferenceJob) -> None:
    caching.check(spec, spec.cache)
    wanted = max(spec.max_tokens, 1)
    # Without prompt_logprobs nothing looks at each token, so a prompt that surely fits is not counted.
    if isinstance(spec.prompt, str) and not needs_text(spec) and not spec.capped:
        check(spec, None)
        if _bytes(spec) + wanted + 8 <= model.context:
            return
    text = await asyncio.to_thread(tokenizer.load, model.source)
    check(spec, text)
    count = await _count(text, spec)
    check_length(count, wanted, model.context)
    caps.check(spec, count, spec.n if spec.max_tokens else 0, model.prices)


async def room(model: Served, spec: InferenceJob) -> int:
    """Tokens that the context leaves for an answer. Raises InvalidInput when it leaves none."""
    text = await asyncio.to_thread(tokenizer.load, model.source)
    # What a template makes of tools that it does not take is not known: that is refused first.
    check(spec, text)
    count = await _count(text, spec)
    check_length(count, 1, model.context)
    caps.check(spec, count, spec.n, model.prices)
    return model.context - count


async def counted(model: Served, spec: InferenceJob) -> int:
    """Tokens of the prompt as `model` is given it. Raises InvalidInput."""
    text = await asyncio.to_thread(tokenizer.load, model.source)
    check(spec, text)
    return await _count(text, spec)


async def _count(text: tokenizer.Text, spec: InferenceJob) -> int:
    body = template_input(spec)
    if _bytes(spec) <= _INLINE_BYTES:
        return len(tokenizer.prompt_ids(text, body))
    return len(await asyncio.to_thread(tokenizer.prompt_ids, text, body))


def _bytes(spec: InferenceJob) -> int:
    prompt = len(spec.prompt.encode()) if isinstance(spec.prompt, str) else len(spec.prompt or ())
    return prompt + sum(m.size + _TEMPLATE_BYTES for m in spec.messages or ())
