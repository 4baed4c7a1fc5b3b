"""An audit's report: JSON for programs, one page that stands alone for the person who decides."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel

from api.deps import CallerDep, JobId, PartsDep
from api.routes.jobs import ERRORS, answer
from api.routes.openai.shapes import KNOWN
from core.audits.report import page, service
from core.audits.suites.listed import SUITES

router = APIRouter(prefix="/v1/audits", tags=["audits"], responses=ERRORS, dependencies=[KNOWN])
HTML = "text/html"
_HEADERS = {
    "content-security-policy": page.SECURITY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "vary": "Accept",
    # It quotes what people asked and a model wrote.
    "cache-control": "private, no-store",
}


class ReportView(BaseModel):
    """`verdict`: null until there is one. `checks`, `suites`: with the axis on which each is drawn."""

    object: Literal["audit.report"]
    id: str
    state: str
    verdict: str | None
    meaning: str
    headline: str | None
    reasons: list[str]
    model: str
    subject: dict[str, Any]
    baseline: dict[str, Any] | None
    policy: dict[str, Any] | None
    evidence: dict[str, Any]
    job: dict[str, Any]
    checks: list[dict[str, Any]]
    suites: list[dict[str, Any]]
    settings: dict[str, Any]
    probe: dict[str, Any] | None
    imports: list[Any]
    plan: dict[str, Any]
    doors: list[dict[str, Any]]
    explanations: list[dict[str, Any]]
    corrections: list[dict[str, Any]]
    limits: list[str]


@router.get(
    "/{job_id}/report",
    responses={200: {"model": ReportView, "content": {HTML: {"schema": {"type": "string"}}}}},
)
async def report(
    job_id: JobId,
    caller: CallerDep,
    parts: PartsDep,
    format: Annotated[Literal["json", "html"] | None, Query(description="before Accept")] = None,  # noqa: A002 - the query's name
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """What an audit found, for who decides: as JSON, or as a page that loads nothing and runs nothing."""
    async with parts.db.single() as session:
        found = await service.report(session, caller, job_id, SUITES)
    if (format or ("html" if wants_page(accept or "") else "json")) == "json":
        return answer(found, headers={"vary": "Accept"})
    shown = await asyncio.to_thread(page.page, found)
    return Response(shown, headers=_HEADERS, media_type=HTML)


def wants_page(accept: str) -> bool:
    """Whether an Accept header prefers HTML to JSON; without a preference a program asks."""
    quality = dict.fromkeys(("text/html", "application/json"), 0.0)
    known = {
        "text/html": ("text/html", "text/*"),
        "application/json": ("application/json", "application/*"),
    }
    for part in accept.split(","):
        name, *rest = (one.strip() for one in part.split(";"))
        given = next((one[2:] for one in rest if one.startswith("q=")), "1")
        weight = float(given) if given.replace(".", "", 1).isdigit() else 0.0
        for wanted, names in known.items():
            if name.lower() in names:
                quality[wanted] = max(quality[wanted], weight)
    return quality["text/html"] > quality["application/json"]
