"""/v1/evals/{id}/runs: create, list, get, cancel, delete; each an audit. And what was answered, item by item."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.background import BackgroundTask

from api import views
from api.admission import admit
from api.audits import admit_audit
from api.deps import CallerDep, IdempotencyKey, Parts, PartsDep, SessionDep
from api.evals import brought
from api.routes.jobs import ERRORS, answer, tell
from api.routes.openai import road
from api.routes.openai.evals import EvalId, Limit, Order
from api.routes.openai.shapes import OPENAI
from core.errors import InvalidInput, NotFound
from core.jobs import evals, outputs, service
from core.jobs.evals import EvalRun, NewRun
from core.jobs.job import Job, State
from core.openai import eval_answers as answers
from core.openai import eval_shapes as shapes
from core.openai.eval_tally import tallied
from core.openai.eval_views import DeletedRun, OutputItemList, OutputItemView, RunList, RunView

router = APIRouter(
    prefix="/v1/evals/{eval_id}/runs", tags=["evals"], responses=ERRORS, dependencies=[OPENAI]
)
RunId = Annotated[str, Path(max_length=64, examples=["evalrun_01kaq0v9ej6xk0m3c8s5t1w2yz"])]
ItemId = Annotated[str, Path(max_length=80)]
AfterRun = Annotated[str | None, Query(pattern=r"^evalrun_[0-9a-z]{26}$")]
AfterItem = Annotated[str | None, Query(pattern=r"^evalitem_[0-9a-z]{26}-\d{1,3}-\d{1,9}$")]
_EXAMPLE = {
    "data_source": {
        "type": "completions",
        "model": "rill",
        "source": {
            "type": "file_content",
            "content": [{"item": {"country": "France", "capital": "Paris"}}],
        },
        "input_messages": {
            "type": "template",
            "template": [{"role": "user", "content": "The capital of {{item.country}}?"}],
        },
    }
}


async def _shown(
    session: AsyncSession, request: Request, *found: tuple[Job, EvalRun]
) -> list[dict[str, Any]]:
    audits = await outputs.audits(session, [job.id for job, _ in found])
    counted = [
        (job.id, run.criteria, audits[job.id].verdict if job.state == State.SUCCEEDED else None)
        for job, run in found
    ]
    tallies, base = await tallied(session, counted), str(request.base_url).rstrip("/")
    return [
        answers.shown_run(job, run, audits[job.id], tallies[job.id], base) for job, run in found
    ]


@router.post("", status_code=201, responses={201: {"model": RunView}})
async def create(
    eval_id: EvalId,
    body: Annotated[shapes.NewRunAsked, Body(examples=[_EXAMPLE])],
    request: Request,
    caller: CallerDep,
    parts: PartsDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Ask a model what the eval asks: an audit, which the run's report and the gate read as any other."""
    async with parts.db.single() as session:
        of = await evals.get(session, caller, eval_id)
    asked = shapes.NewEval(
        data_source_config=of.data_source_config, testing_criteria=of.testing_criteria
    )
    spec = body.spec(asked, await brought(parts, caller, body.inline))
    criteria = shapes.criteria(asked)
    model = await admit(parts, caller, spec, param="data_source.model")
    try:
        audit = await admit_audit(parts, caller, spec, model)
    except (InvalidInput, NotFound) as error:
        raise shapes.refused(error, spec, criteria) from error
    run = NewRun(
        of.id,
        body.name or of.name,
        body.data_source.model_dump(mode="json", exclude_unset=True),
        criteria,
    )
    errand = await road.submit(
        parts, caller, model, request, [spec], idempotency_key, audit=audit, run=run
    )
    async with parts.db.single() as session:
        made = await evals.run(session, caller, of.id, evals.run_id(errand.jobs[0].id))
        (shown,) = await _shown(session, request, made)
    return answer(shown, 201, errand.headers)


@router.get("", responses={200: {"model": RunList}})
async def listed(
    eval_id: EvalId,
    request: Request,
    caller: CallerDep,
    parts: PartsDep,
    after: AfterRun = None,
    limit: Limit = 20,
    order: Order = "asc",
    status: Literal["queued", "in_progress", "completed", "canceled", "failed"] | None = None,
) -> Response:
    """An eval's runs; `after=<last_id>` continues."""
    states = None if status is None else answers.states(status)
    async with parts.db.single() as session:
        found, more = await evals.runs(
            session, caller, eval_id, states=states, after=after, limit=limit, order=order
        )
        return answer(views.page(await _shown(session, request, *found), more))


@router.get("/{run_id}", responses={200: {"model": RunView}})
async def get(
    eval_id: EvalId, run_id: RunId, request: Request, caller: CallerDep, parts: PartsDep
) -> Response:
    """One run: its status, how many items passed, what it took; while it runs, of what is there so far."""
    async with parts.db.single() as session:
        found = await evals.run(session, caller, eval_id, run_id)
        (shown,) = await _shown(session, request, found)
    return answer(shown)


# OpenAI documents the first; its clients post to the second.
@router.post("/{run_id}", responses={200: {"model": RunView}})
@router.post("/{run_id}/cancel", responses={200: {"model": RunView}})
async def cancel(
    eval_id: EvalId,
    run_id: RunId,
    request: Request,
    caller: CallerDep,
    parts: PartsDep,
    session: SessionDep,
) -> Response:
    """Stop a run. A running one is asked to; what is answered stays."""
    job, run = await evals.run(session, caller, eval_id, run_id)
    job = await service.cancel(session, caller, job.id)
    (shown,) = await _shown(session, request, (job, run))
    return _told(parts, job, shown)


def _told(parts: Parts, job: Job, shown: dict[str, Any]) -> Response:
    response = answer(shown)
    response.background = BackgroundTask(tell, parts, job.id)
    return response


@router.delete("/{run_id}", responses={200: {"model": DeletedRun}})
async def delete(
    eval_id: EvalId, run_id: RunId, caller: CallerDep, session: SessionDep
) -> Response:
    """Delete a run that has ended; the audit that it was stays."""
    await evals.remove_run(session, caller, eval_id, run_id)
    return answer({"object": "eval.run.deleted", "run_id": run_id, "deleted": True})


@router.get("/{run_id}/output_items", responses={200: {"model": OutputItemList}})
async def items(
    eval_id: EvalId,
    run_id: RunId,
    caller: CallerDep,
    parts: PartsDep,
    after: AfterItem = None,
    limit: Limit = 20,
    order: Order = "asc",
    status: Literal["pass", "fail"] | None = None,
) -> Response:
    """What was asked, answered and graded; `after=<last_id>` continues."""
    async with parts.db.single() as session:
        job, run = await evals.run(session, caller, eval_id, run_id)
        audit = (await outputs.audits(session, [job.id]))[job.id]
        place = None if after is None else answers.place_of(job.id, after)
        shown: list[dict[str, Any]] = []
        async for row in outputs.walked(session, audit, place, order):
            one = answers.shown_item(row, job, run, audit)
            if status in (None, one["status"]):
                shown.append(one)
            if len(shown) > limit:
                break
    return answer(views.page(shown[:limit], len(shown) > limit))


@router.get("/{run_id}/output_items/{item_id}", responses={200: {"model": OutputItemView}})
async def item(
    eval_id: EvalId, run_id: RunId, item_id: ItemId, caller: CallerDep, parts: PartsDep
) -> Response:
    """One answer with what each criterion says of it."""
    async with parts.db.single() as session:
        job, run = await evals.run(session, caller, eval_id, run_id)
        audit = (await outputs.audits(session, [job.id]))[job.id]
        row = await outputs.at(session, audit, *answers.place_of(job.id, item_id))
    if row is None:
        raise answers.missing(item_id)
    return answer(answers.shown_item(row, job, run, audit))
