"""Likelihoods of a prompt from the real engine: those asked for, the same whoever else is in the step."""

import asyncio
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.workers.real_engine import TEXT, said
from workers.engine import Engine, Likely

torch = pytest.importorskip("torch")

SAME = 1e-4
STORY = "The river runs past the old mill and the wind is in the trees. "
LONG = TEXT.encode(STORY * 20)
SHORT = TEXT.encode(STORY)


async def likely(engine: Engine, prompt: list[int], **fields: Any) -> list[Likely | None]:
    one = await said(engine, prompt=prompt, max_tokens=1, mute=True, **fields)
    assert one.prompt_logprobs is not None
    assert len(one.prompt_logprobs) == len(prompt)
    return one.prompt_logprobs


def logprobs(some: list[Likely | None], begin: int) -> list[float]:
    assert all(one is not None for one in some[begin:])
    return [one.logprob for one in some[begin:] if one is not None]


async def test_only_what_is_asked_for_is_told(engine: Engine) -> None:
    whole = await likely(engine, SHORT, prompt_logprobs=2)
    assert whole[0] is None
    for begin in (1, len(SHORT) // 2, len(SHORT) - 1):
        part = await likely(engine, SHORT, prompt_logprobs=2, scored_from=begin)
        assert part[:begin] == [None] * begin
        assert logprobs(part, begin) == pytest.approx(logprobs(whole, begin), abs=SAME)
        for one, place in zip(part[begin:], range(begin, len(SHORT)), strict=True):
            assert one is not None
            assert one.token == SHORT[place]
            assert len(one.top) == 2
            assert one.top[0][1] >= one.logprob - SAME


async def test_neighbours_of_a_step_change_nothing(engine: Engine) -> None:
    """Long prompts that no step holds at once, short ones, with and without likelihoods, and other counts."""
    asked: list[tuple[list[int], dict[str, Any]]] = [
        (prompt, {"scope": f"t{number}", **fields})
        for number, prompt in enumerate((LONG * 4, SHORT, LONG, LONG * 5, SHORT[:7]))
        for fields in (
            {"prompt_logprobs": 0},
            {"prompt_logprobs": 3, "scored_from": len(prompt) - 3},
            {"prompt_logprobs": 1, "scored_from": len(prompt) // 3},
        )
    ]
    alone = [await likely(engine, prompt, **fields) for prompt, fields in asked]
    together = asyncio.gather(*(likely(engine, prompt, **fields) for prompt, fields in asked))
    beside = asyncio.gather(*(said(engine, prompt=SHORT, max_tokens=20) for _ in range(4)))
    for (_, fields), one, other in zip(asked, alone, await together, strict=True):
        begin = fields.get("scored_from", 1)
        assert logprobs(other, begin) == pytest.approx(logprobs(one, begin), abs=SAME)
        assert [None if x is None else len(x.top) for x in other] == [
            None if x is None else len(x.top) for x in one
        ]
    await beside


async def test_choices_share_what_is_before_them(engine: Engine) -> None:
    choices = [TEXT.encode(text, special=False) for text in (" and stops", " for ever", " no more")]
    fresh = [
        await likely(engine, LONG + one, prompt_logprobs=0, scope=f"fresh{number}")
        for number, one in enumerate(choices)
    ]
    for turn in range(2):
        for one, whole in zip(choices, fresh, strict=True):
            begin = len(LONG)
            asked = {"prompt_logprobs": 0, "scored_from": begin, "scope": "shared"}
            part = await likely(engine, LONG + one, **asked)
            assert logprobs(part, begin) == pytest.approx(logprobs(whole, begin), abs=SAME)
            again = await said(engine, prompt=LONG + one, max_tokens=1, **asked)
            assert (again.cached or 0) >= 128, turn


async def test_what_the_cache_hides_is_asked_for_again(engine: Engine) -> None:
    """The cache has all blocks of this prompt, and with them tokens that are to be scored."""
    begin = len(LONG) - 140
    assert begin > len(LONG) // 2
    first = await likely(engine, LONG, prompt_logprobs=1, scored_from=begin, scope="twice")
    second = await likely(engine, LONG, prompt_logprobs=1, scored_from=begin, scope="twice")
    assert logprobs(second, begin) == pytest.approx(logprobs(first, begin), abs=SAME)
    assert not any(math.isnan(one) for one in logprobs(second, begin))


class _Sampler:
    """The sums of vLLM's sampler that are asked for here."""

    def compute_logprobs(self, logits: Any) -> Any:
        return logits.log_softmax(dim=-1)

    def gather_logprobs(self, logprobs: Any, count: int, tokens: Any) -> Any:
        top, ids = torch.topk(logprobs, count, dim=-1)
        own = logprobs.gather(-1, tokens.unsqueeze(-1))
        ranks = (logprobs >= own).sum(-1)
        return SimpleNamespace(
            logprob_token_ids=torch.cat((tokens.unsqueeze(-1), ids), dim=1),
            logprobs=torch.cat((own, top), dim=1),
            selected_token_ranks=ranks,
        )


def _runner(vocabulary: int) -> Any:
    """Two requests of 6 and 4 tokens, the second of which was preempted where `scheduled` leaves it out."""
    torch.manual_seed(1)
    head = torch.randn(3, 8)

    def request(ids: list[int], begin: int) -> Any:
        extra = SimpleNamespace(extra_args={"penstock_scored_from": begin})
        return SimpleNamespace(
            prompt_token_ids=ids, num_computed_tokens=0, sampling_params=extra,
            in_progress_prompt_logprobs_cpu=None,
        )  # fmt: skip

    return SimpleNamespace(
        num_prompt_logprobs={"a": 1, "b": 0},
        requests={"a": request([1, 2, 3, 4, 5, 6], 2), "b": request([7, 6, 5, 4], 3)},
        input_batch=SimpleNamespace(req_id_to_index={"a": 0, "b": 1}),
        query_start_loc=SimpleNamespace(np=np.array([0, 6, 10])),
        model_config=SimpleNamespace(get_vocab_size=lambda: vocabulary),
        model=SimpleNamespace(compute_logits=lambda rows: rows @ head),
        sampler=_Sampler(),
    )


def test_a_large_vocabulary_is_scored_in_pieces_and_a_preempted_request_later() -> None:
    told = pytest.importorskip("workers.vllm_scoring").told
    hidden = torch.randn(10, 3)
    once, pieces = _runner(8), _runner(2**23)
    wanted = told(once, hidden, {"a": 6, "b": 4})
    assert {name: tuple(one.logprobs.shape) for name, one in wanted.items()} == {
        "a": (4, 2), "b": (1, 1),
    }  # fmt: skip
    assert once.num_prompt_logprobs == {}
    found = told(pieces, hidden, {"a": 4})
    assert found == {}
    pieces.requests["a"].num_computed_tokens = 4
    pieces.query_start_loc.np = np.array([0, 2, 6])
    # What is left of the first one comes before the second in this step.
    found = told(pieces, torch.cat((hidden[4:6], hidden[6:])), {"a": 2, "b": 4})
    for name, one in wanted.items():
        torch.testing.assert_close(found[name].logprobs, one.logprobs)
        assert found[name].logprob_token_ids.tolist() == one.logprob_token_ids.tolist()
        assert found[name].selected_token_ranks.tolist() == one.selected_token_ranks.tolist()
