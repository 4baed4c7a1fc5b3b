"""/v1/evals: what is asked and expected, kept once and run as often as there are models."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query, Response

from api import views
from api.deps import CallerDep, SessionDep
from api.routes.jobs import ERRORS, answer
from api.routes.openai.shapes import OPENAI
from core.jobs import evals
from core.openai import eval_answers as answers
from core.openai.eval_shapes import EvalChange, NewEval
from core.openai.eval_views import DeletedEval, EvalList, EvalView

router = APIRouter(prefix="/v1/evals", tags=["evals"], responses=ERRORS, dependencies=[OPENAI])

EvalId = Annotated[str, Path(max_length=64, examples=["eval_01kaq0v9ej6xk0m3c8s5t1w2yz"])]
AfterEval = Annotated[str | None, Query(pattern=r"^eval_[0-9a-z]{26}$")]
Limit = Annotated[int, Query(ge=1, le=100)]
Order = Annotated[Literal["asc", "desc"], Query()]
EXAMPLE: dict[str, Any] = {
    "name": "capitals",
    "data_source_config": {
        "type": "custom",
        "item_schema": {"type": "object", "properties": {"country": {"type": "string"}}},
        "include_sample_schema": True,
    },
    "testing_criteria": [
        {
            "type": "string_check",
            "name": "right",
            "input": "{{sample.output_text}}",
            "reference": "{{item.capital}}",
            "operation": "ilike",
        }
    ],
}


@router.post("", status_code=201, responses={201: {"model": EvalView}})
async def create(
    body: Annotated[NewEval, Body(examples=[EXAMPLE])], caller: CallerDep, session: SessionDep
) -> Response:
    """Keep what is asked and expected: OpenAI's graders by rules, and suites of audits as `penstock.audit`."""
    made = await evals.create(
        session,
        caller,
        name=body.name or "",
        config=body.data_source_config.model_dump(),
        criteria=[one.model_dump(exclude_unset=True) for one in body.testing_criteria],
        metadata=body.metadata or {},
    )
    return answer(answers.shown_eval(made), 201)


@router.get("", responses={200: {"model": EvalList}})
async def listed(
    caller: CallerDep,
    session: SessionDep,
    after: AfterEval = None,
    limit: Limit = 20,
    order: Order = "asc",
    order_by: Literal["created_at", "updated_at"] = "created_at",
) -> Response:
    """Your evals; `after=<last_id>` continues."""
    found, more = await evals.listed(
        session, caller, after=after, limit=limit, order=order, by_change=order_by == "updated_at"
    )
    return answer(views.page([answers.shown_eval(one) for one in found], more))


@router.get("/{eval_id}", responses={200: {"model": EvalView}})
async def get(eval_id: EvalId, caller: CallerDep, session: SessionDep) -> Response:
    """One eval."""
    return answer(answers.shown_eval(await evals.get(session, caller, eval_id)))


@router.post("/{eval_id}", responses={200: {"model": EvalView}})
async def change(
    eval_id: EvalId, body: EvalChange, caller: CallerDep, session: SessionDep
) -> Response:
    """Give it another name or other metadata. What is asked and expected stays: runs were made of it."""
    changed = await evals.change(session, caller, eval_id, name=body.name, metadata=body.metadata)
    return answer(answers.shown_eval(changed))


@router.delete("/{eval_id}", responses={200: {"model": DeletedEval}})
async def delete(eval_id: EvalId, caller: CallerDep, session: SessionDep) -> Response:
    """Delete an eval and its runs. The audits that they were stay, and so does what the gate makes of them."""
    await evals.remove(session, caller, eval_id)
    return answer({"object": "eval.deleted", "eval_id": eval_id, "deleted": True})
