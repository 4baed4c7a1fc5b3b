"""The report as one JSON document; the page shows this and nothing else."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from core.audits.report import explained, sections
from core.audits.report.choosing import Chosen
from core.audits.report.known import Known
from core.audits.report.masking import masked
from core.audits.report.reading import Found, concluded
from core.audits.report.words import GENERAL_LIMITS, MEANS, STATES, headline
from core.audits.tables import AuditAnswer
from core.events.types import rfc3339
from core.guard.rule import LONGEST

# Characters of a prompt or an answer that a report quotes; what is cut off is counted.
QUOTED = 1200
LOOKED = 4 * LONGEST
Quoted = Mapping[tuple[str, str], AuditAnswer]


def built(
    found: Found, known: Known, worst: Mapping[str, Chosen], quoted: Quoted, now: datetime
) -> dict[str, Any]:
    """`worst`: by suite; `quoted`: the answers to those items, by suite and item."""
    audit, job = found.audit, found.job
    done = concluded(job.state, audit)
    findings = (audit.findings or {}) if done else {}
    checks = sections.checks(findings, known)
    verdict = audit.verdict if done else None
    return {
        "object": "audit.report",
        "id": audit.job_id,
        "state": job.state,
        "verdict": verdict,
        "meaning": MEANS[verdict] if verdict else STATES[job.state],
        "headline": headline(checks) if verdict else None,
        "reasons": list(findings.get("reasons", [])),
        "model": audit.model,
        "subject": {
            "version": audit.version_id,
            "weights": audit.weights,
            "adapter": audit.adapter or None,
            "dataset": audit.dataset or None,
        },
        "baseline": audit.baseline,
        "policy": _policy(found),
        "evidence": _evidence(found, now),
        "job": _job(found),
        "checks": checks,
        "suites": [
            _suite(one, found, known, worst, quoted, checks) for one in findings.get("suites", [])
        ],
        "settings": findings.get("settings", {}),
        "probe": findings.get("probe"),
        "imports": findings.get("imports", []),
        "plan": audit.plan,
        "doors": [sections.door(one) for one in found.passes],
        "explanations": [explained.explanation(one) for one in found.explanations],
        "corrections": [sections.correction(_plain(one), known) for one in found.corrections],
        "limits": list(GENERAL_LIMITS) if done else [],
    }


def _policy(found: Found) -> dict[str, Any] | None:
    audit = found.audit
    if not audit.policy_name:
        return None
    return {
        "name": audit.policy_name,
        "version": audit.policy_version,
        "digest": audit.policy_digest,
        "body": audit.policy,
    }


def _evidence(found: Found, now: datetime) -> dict[str, Any]:
    """Whether the gate may still count it, by its dates alone; later audits are the gate's to weigh."""
    audit = found.audit
    if audit.published_at is None:
        standing = "not published"
    elif audit.expires_at is not None and audit.expires_at <= now:
        standing = "expired"
    else:
        standing = "current"
    return {
        "standing": standing,
        "published_at": sections.time(audit.published_at),
        "expires_at": sections.time(audit.expires_at),
    }


def _job(found: Found) -> dict[str, Any]:
    job = found.job
    return {
        "attempt": job.attempt,
        "created_at": sections.time(job.created_at),
        "started_at": sections.time(job.started_at),
        "finished_at": sections.time(job.finished_at),
        "progress": sections.progress(job.progress),
        "usage": job.usage,
        "cost": None if job.cost is None else f"{job.cost.normalize():f}",
        "error": job.error,
        "metadata": job.metadata,
    }


def _suite(
    one: dict[str, Any],
    found: Found,
    known: Known,
    worst: Mapping[str, Chosen],
    quoted: Quoted,
    checks: list[dict[str, Any]],
) -> dict[str, Any]:
    name = one["suite"]
    kept = next((s for s in found.audit.suites if s["name"] == name), {})
    return {
        **sections.suite(one, known, checks),
        "files": kept.get("files", {}),
        "options": kept.get("options", {}),
        "split": kept.get("split", "all"),
        "classifier": kept.get("classifier"),
        "worst": _worst(name, worst.get(name), quoted),
        "prompts": [_prompt(first) for first in found.first if first.suite == name],
    }


def _worst(name: str, chosen: Chosen | None, quoted: Quoted) -> dict[str, Any] | None:
    if chosen is None or not chosen.items:
        return None
    return {
        "metric": chosen.metric,
        "check": chosen.check,
        "group": chosen.group,
        "items": [
            {
                "item": row.item,
                "cluster": row.cluster,
                "groups": dict(row.groups),
                "valid": row.valid,
                "counts": dict(row.counts),
                "moves": moves,
                **_quote(quoted.get((name, row.item))),
            }
            for row, moves in chosen.items
        ],
    }


def _quote(kept: AuditAnswer | None) -> dict[str, Any]:
    if kept is None:
        return {"prompt": None, "answers": [], "likelihoods": []}
    return {
        "prompt": _text(kept.prompt),
        "answers": [_text(text) for text in kept.answer.get("texts", [])[:3]],
        "likelihoods": [float(one[0]) for one in kept.answer.get("likelihoods", [])[:8]],
    }


def _text(text: str) -> dict[str, Any]:
    """Masked before it is cut, so that no half of what is masked is left.

    Of a long text no more is looked through than that needs: behind what is quoted, so much as one match may have."""
    part = text[:LOOKED]
    shown, count = masked(part)
    if len(part) < len(text) and len(shown) < QUOTED + LONGEST:
        part = text
        shown, count = masked(part)
    cut = max(len(shown) - QUOTED, 0) + len(text) - len(part)
    return {"text": shown[:QUOTED], "masked": count, "cut": cut}


def _prompt(kept: AuditAnswer) -> dict[str, Any]:
    digest = hashlib.sha256(kept.prompt.encode()).hexdigest()
    return {"item": kept.item, **_text(kept.prompt), "sha256": digest}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON has it."""
    return {
        name: rfc3339(v.astimezone(UTC))
        if isinstance(v, datetime)
        else str(v)
        if isinstance(v, Decimal)
        else v
        for name, v in row.items()
    }
