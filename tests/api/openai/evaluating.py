"""Short ways for tests of evals, with OpenAI's own client."""

from typing import Any

from openai import AsyncOpenAI

from tests.waiting import eventually

COUNTRIES = ("France", "Spain", "Italy", "Norway", "Chile", "Japan")
CHECK: dict[str, Any] = {
    "type": "string_check", "name": "right", "input": "{{sample.output_text}}",
    "reference": "{{item.capital}}", "operation": "eq",
}  # fmt: skip
ALIKE: dict[str, Any] = {
    "type": "text_similarity", "name": "close", "input": "{{sample.output_text}}",
    "reference": "{{item.capital}}", "evaluation_metric": "fuzzy_match", "pass_threshold": 0.99,
}  # fmt: skip
AUDIT: dict[str, Any] = {"type": "penstock.audit", "name": "quality", "suite": "graded"}
CONFIG: dict[str, Any] = {
    "type": "custom", "include_sample_schema": True,
    "item_schema": {"type": "object", "properties": {"country": {"type": "string"}}},
}  # fmt: skip
TEMPLATE = {
    "type": "template",
    "template": [
        {"role": "developer", "content": "Be brief.", "type": "message"},
        {"role": "user", "content": {"type": "input_text", "text": "Capital of {{item.country}}?"}},
    ],
}


async def new_eval(ai: AsyncOpenAI, *criteria: dict[str, Any], **more: Any) -> Any:
    given: Any = {"data_source_config": CONFIG, "testing_criteria": list(criteria or (CHECK,))}
    return await ai.evals.create(**given | more)


def source(
    capitals: dict[str, str] | None = None, file: str | None = None, **more: Any
) -> dict[str, Any]:
    """A data source over the countries; a capital that is not given is one that nobody answers."""
    known = capitals or {}
    items = [{"item": {"country": c, "capital": known.get(c, "?")}} for c in COUNTRIES]
    content: Any = {"type": "file_content", "content": items}
    return {
        "type": "completions", "model": "rill", "input_messages": TEMPLATE,
        "source": {"type": "file_id", "id": file} if file else content,
        "sampling_params": {"max_completion_tokens": 6}, **more,
    }  # fmt: skip


async def new_run(ai: AsyncOpenAI, eval_id: str, data_source: dict[str, Any], **more: Any) -> Any:
    given: Any = {"data_source": data_source} | more
    return await ai.evals.runs.create(eval_id, **given)


async def done(ai: AsyncOpenAI, run: Any, *statuses: str) -> Any:
    """The run once it is in one of these; completed where none is named."""

    async def there() -> Any:
        found = await ai.evals.runs.retrieve(run.id, eval_id=run.eval_id)
        assert found.status in (*statuses, "queued", "in_progress", "completed"), found.error
        return found if found.status in (statuses or ("completed",)) else None

    return await eventually(there, f"{run.id} {statuses or 'completed'}")


async def answered(ai: AsyncOpenAI, eval_id: str) -> dict[str, str]:
    """What the model says to each country: the scripted engine says it again each time."""
    run = await done(ai, await new_run(ai, eval_id, source()))
    page = ai.evals.runs.output_items.list(run.id, eval_id=eval_id)
    return {
        one.datasource_item["country"]: str(one.sample.output[0].content)  # type: ignore[misc]
        async for one in page
    }
