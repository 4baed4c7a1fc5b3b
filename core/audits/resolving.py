"""From what a client wished for to what an audit is bound to: digests, files, policy, and what it is held against."""

import asyncio
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from core.audits import baselines, sizes
from core.audits.chosen import Chosen, checked
from core.audits.new import NewAudit
from core.audits.suite import Suite
from core.audits.suites import listed
from core.audits.wishes import NO_POLICY, AuditWish, SuiteWish
from core.catalog import tokenizer
from core.catalog.models import Offer, Served
from core.errors import InvalidInput
from core.files import service as files
from core.files.tables import File
from core.gate import service as gate
from core.gate.policies import Policy
from core.security.keys import Caller

# What a file must have been uploaded for.
PURPOSES = ("evals", "user_data")


async def resolve(
    session: AsyncSession, caller: Caller, wish: AuditWish, model: Served, offer: Offer
) -> NewAudit:
    """`model`: what `wish.model` stands for in `offer`, which is the tenant's (core/catalog/offers.py).

    Raises InvalidInput and NotFound naming the field at fault; files and policies of others are not there.
    """
    await _check_render(wish, model)
    held = None
    if wish.policy != NO_POLICY:
        held = await gate.policy_of(session, caller.tenant_id, wish.policy or "")
    chosen, tokens = [], 0
    for number, one in enumerate(wish.suites or _needed(held.policy if held else None)):
        one_chosen, size = await _chosen(session, caller, one, f"suites.{number}")
        chosen.append(one_chosen.as_json())
        tokens += await asyncio.to_thread(sizes.reckoned, one_chosen, size)
    imports = [
        {"id": file.id, "sha256": file.sha256, "name": file.filename}
        for number, file_id in enumerate(wish.imports)
        for file in [await _file(session, caller, file_id, f"imports.{number}")]
    ]
    if not chosen:
        raise InvalidInput(
            "suites: name at least one; the policy's checks need files, or there are none",
            param="suites",
        )
    found = await baselines.candidate(session, caller, model)
    baseline = await baselines.resolved(session, caller, wish.baseline, model, offer)
    policy = held.policy if held else None
    seed = wish.seed if wish.seed is not None else policy.seed if policy else 0
    return NewAudit(
        tenant_id=caller.tenant_id,
        model=model.name,
        version_id=found.version_id,
        weights=found.subject.weights,
        adapter=found.subject.adapter,
        dataset=found.subject.dataset,
        suites=chosen,
        policy=policy.data() if policy else None,
        policy_name=held.name if held else "",
        policy_version=held.version if held else 0,
        policy_digest=held.digest if held else "",
        baseline=baseline,
        settings={
            "seed": seed, "render": wish.render, "confidence": wish.confidence, "imports": imports,
            "served": baselines.served_by(model, found.subject),
        },
        tokens=tokens * (2 if baseline else 1),
    )  # fmt: skip


async def _check_render(wish: AuditWish, model: Served) -> None:
    if wish.render == "chat":
        text = await asyncio.to_thread(tokenizer.load, model.source)
        if not text.chats:
            raise InvalidInput(
                f"render: {model.name} has no chat template; say auto or plain", param="render"
            )


def _needed(policy: Policy | None) -> list[SuiteWish]:
    """The suites that a policy's checks are about and that need no file, in the order of the checks."""
    found: dict[str, SuiteWish] = {}
    for check in policy.checks if policy else ():
        suite = listed.SUITES.get(check.suite) or listed.of_metric(check.metric)
        if suite is not None and not any(suite.needs.values()) and not check.files:
            wish = SuiteWish(suite=suite.name, options=dict(check.options), items=check.items)
            found.setdefault(suite.name, wish)
    return list(found.values())


async def _chosen(
    session: AsyncSession, caller: Caller, wish: SuiteWish, param: str
) -> tuple[Chosen, int]:
    """The suite as it is kept, and how many bytes its files have."""
    suite = listed.find(wish.suite, param=f"{param}.suite")
    options = checked(suite, wish.options, f"{param}.options")
    _check_files(suite, wish, param)
    kept: dict[str, Any] = {}
    size = 0
    for name, file_id in wish.named.items():
        place = f"{param}.file" if wish.file is not None else f"{param}.files.{name}"
        file = await _file(session, caller, file_id, place)
        kept[name] = {"id": file.id, "sha256": file.sha256}
        size += file.bytes
    if suite.fitted is not None and suite.classifier is not None:
        # Which classifier scores is a setting: the fitted suite says.
        known = suite.options.model_validate(options)
        suite = await asyncio.to_thread(suite.fit, {}, known)
    made = Chosen(
        suite.name, suite.version, kept, options, wish.items, wish.split, suite.classifier
    )
    return made, size


def _check_files(suite: Suite, wish: SuiteWish, param: str) -> None:
    known = ", ".join(f"{n}{'' if must else ' (optional)'}" for n, must in suite.needs.items())
    for name in wish.named:
        if name not in suite.needs:
            raise InvalidInput(
                f"{param}.files.{name}: {suite.name} takes {known or 'no file'}",
                param=f"{param}.files.{name}" if wish.file is None else f"{param}.file",
            )
    for name, must in suite.needs.items():
        if must and name not in wish.named:
            raise InvalidInput(
                f"{param}.files.{name}: {suite.name} needs it. Upload the published file "
                f"(POST /v1/files, purpose evals) and name its id; {suite.source}",
                param=f"{param}.files.{name}",
            )


async def _file(session: AsyncSession, caller: Caller, file_id: str, param: str) -> File:
    file = await files.get(session, caller, file_id, param=param)
    if file.purpose not in PURPOSES:
        raise InvalidInput(
            f"{param}: the file's purpose is {file.purpose!r}; send it again with purpose 'evals'",
            param=param,
        )
    return file
