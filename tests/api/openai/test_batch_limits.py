"""What no batch takes: too many lines, lines or files that are too large, lines without a model."""

import pytest
from openai import AsyncOpenAI

from core.batches.service import MAX_BYTES, MAX_LINES, NewBatch, check
from core.errors import InvalidInput
from core.files.tables import File
from tests.api.openai.batching import CHAT, begin, ended, line


async def failure(ai: AsyncOpenAI, rows: list[object]) -> list[tuple[int | None, str | None]]:
    """Line numbers and codes of a batch that must fail."""
    done = await ended(ai, (await begin(ai, rows)).id)
    assert done.status == "failed"
    assert done.output_file_id is done.error_file_id is None
    assert done.request_counts is not None
    assert done.request_counts.total == 0
    assert done.errors is not None
    return [(one.line, one.code) for one in done.errors.data or ()]


async def test_a_line_more_than_it_takes_fails_the_batch(ai: AsyncOpenAI) -> None:
    rows = [line(f"r{number}") for number in range(MAX_LINES + 1)]
    assert await failure(ai, [*rows]) == [(None, "too_many_lines")]


async def test_a_line_that_is_too_long_is_named_by_its_number(ai: AsyncOpenAI) -> None:
    rows = [line("a"), line("b", "word " * 500_000), line("c"), line("a")]
    assert await failure(ai, [*rows]) == [(2, "line_too_long"), (4, "duplicate_custom_id")]


async def test_a_line_without_a_model_is_named_by_its_number(ai: AsyncOpenAI) -> None:
    wrong = line("b")
    del wrong["body"]["model"]
    assert await failure(ai, [line("a"), wrong]) == [(2, "missing_model")]


@pytest.mark.parametrize(("size", "taken"), [(MAX_BYTES, True), (MAX_BYTES + 1, False)])
def test_a_file_of_more_bytes_than_it_takes_is_refused_at_once(size: int, taken: bool) -> None:
    new = NewBatch("file_" + "0" * 26, CHAT, "24h")
    file = File(id=new.input_file_id, purpose="batch", bytes=size)
    if taken:
        check(new, file)
        return
    with pytest.raises(InvalidInput, match="split it") as refused:
        check(new, file)
    assert refused.value.param == "input_file_id"
