"""What /v1/evals answers with, for the OpenAPI page."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class EvalView(BaseModel):
    model_config = ConfigDict(extra="allow")
    id: str
    object: str
    name: str
    created_at: int
    data_source_config: dict[str, Any]
    testing_criteria: list[dict[str, Any]]
    metadata: dict[str, str]


class DeletedEval(BaseModel):
    object: str
    eval_id: str
    deleted: bool


class RunView(BaseModel):
    """`audit`, `verdict` and `policy` are our own: the audit that the run is, and what came of it."""

    model_config = ConfigDict(extra="allow")
    id: str
    object: str
    eval_id: str
    name: str
    model: str
    status: str
    created_at: int
    data_source: dict[str, Any]
    error: dict[str, Any] | None
    metadata: dict[str, str]
    result_counts: dict[str, int]
    per_testing_criteria_results: list[dict[str, Any]]
    per_model_usage: list[dict[str, Any]]
    report_url: str
    audit: str
    verdict: str | None
    policy: str | None


class DeletedRun(BaseModel):
    object: str
    run_id: str
    deleted: bool


class OutputItemView(BaseModel):
    """`status`: pass, fail, error, or pending where only the audit's verdict can tell."""

    id: str
    object: str
    eval_id: str
    run_id: str
    created_at: int
    status: str
    datasource_item_id: int
    datasource_item: dict[str, Any]
    results: list[dict[str, Any]]
    sample: dict[str, Any]


class _Page(BaseModel):
    object: str
    first_id: str | None
    last_id: str | None
    has_more: bool


class EvalList(_Page):
    data: list[EvalView]


class RunList(_Page):
    data: list[RunView]


class OutputItemList(_Page):
    data: list[OutputItemView]
