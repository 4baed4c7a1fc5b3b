"""Adapters on the real engine: its words are those of Hugging Face with PEFT, and neighbours are not touched."""

import asyncio
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from core.config import MODEL_FOLDER
from tests.workers.real_engine import PROMPT, TEXT, said
from workers.engine import AdapterBroken, Engine
from workers.vllm_lora import grouped

pytestmark = [
    pytest.mark.engine,
    # vLLM leaves a context of zmq open, and says so whenever it is collected.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SAYS = 24
LONG = TEXT.encode("The river runs past the old mill and the wind is in the trees. " * 20)


@dataclass(frozen=True)
class Made:
    """An adapter with random weights, and what Hugging Face says with it."""

    digest: str
    folder: Path
    tokens: list[int]
    long: list[int]


def _greedy(model: Any, prompt: list[int], count: int) -> list[int]:
    ids = torch.tensor([prompt])
    with torch.inference_mode():
        for _ in range(count):
            ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], dim=1)
    said: list[int] = ids[0, len(prompt) :].tolist()
    return said


def _base() -> Any:
    return AutoModelForCausalLM.from_pretrained(MODEL_FOLDER, dtype=torch.float32)


def _made(folder: Path, number: int) -> Made:
    torch.manual_seed(number)
    # Ranks and targets differ, the last has the whole vocabulary's too.
    targets: Any = ("all-linear", ["q_proj", "v_proj"], ["o_proj", "down_proj", "lm_head"])[number]
    config = LoraConfig(
        r=(8, 16, 3)[number], lora_alpha=16, target_modules=targets, init_lora_weights=False
    )
    with warnings.catch_warnings():
        # PEFT warns that the embedding, tied to the head, is not adapted with it: it is not here either.
        warnings.simplefilter("ignore", UserWarning)
        model: PeftModel = get_peft_model(_base(), config)
        model.save_pretrained(str(folder))
    said = _greedy(model, PROMPT, SAYS), _greedy(model, LONG, 8)
    return Made(f"{number + 1:064x}", folder, *said)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Made]:
    return [_made(tmp_path_factory.mktemp(f"adapter{number}"), number) for number in range(3)]


@pytest.fixture(scope="module")
def plain() -> list[int]:
    return _greedy(_base(), PROMPT, SAYS)


@pytest_asyncio.fixture(loop_scope="session")
async def adapted(engine: Engine, made: list[Made]) -> AsyncIterator[Engine]:
    """With all three, which is as many as it has room for."""
    for one in made:
        await engine.adapt(one.digest, one.folder)
    yield engine
    for one in made:
        await engine.forget(one.digest)


async def tokens(engine: Engine, adapter: str = "", **fields: Any) -> list[int]:
    wanted = {"max_tokens": SAYS, "ignore_eos": True} | fields
    return (await said(engine, adapter=adapter, **wanted)).tokens


async def test_greedy_answers_are_those_of_hugging_face(
    adapted: Engine, made: list[Made], plain: list[int]
) -> None:
    assert len({tuple(one.tokens) for one in made} | {tuple(plain)}) == 4, "they do differ"
    for one in made:
        assert await tokens(adapted, one.digest) == one.tokens
    assert await tokens(adapted) == plain


async def test_many_in_one_step_are_as_if_alone(
    adapted: Engine, made: list[Made], plain: list[int]
) -> None:
    """Every slot is taken here: vLLM's own class for CPUs gave requests without an adapter the last one's."""
    wanted = [("", plain), *((one.digest, one.tokens) for one in made)] * 4
    found = await asyncio.gather(*(tokens(adapted, digest) for digest, _ in wanted))
    assert found == [said for _, said in wanted]


async def test_a_cached_prefix_is_of_one_adapter_alone(adapted: Engine, made: list[Made]) -> None:
    first = [await said(adapted, prompt=LONG, max_tokens=1, adapter=one.digest) for one in made]
    base = await said(adapted, prompt=LONG, max_tokens=1)
    again = [await said(adapted, prompt=LONG, max_tokens=8, adapter=one.digest) for one in made]
    assert [one.cached for one in [*first, base]] == [0, 0, 0, 0]
    for one, wanted in zip(again, made, strict=True):
        assert one.cached is not None
        assert one.cached > len(LONG) // 2
        assert one.tokens == wanted.long


async def test_a_forgotten_one_makes_room_and_comes_back(
    engine: Engine, made: list[Made], plain: list[int]
) -> None:
    for one in [*made, *made]:
        await engine.adapt(one.digest, one.folder)
        assert await tokens(engine, one.digest) == one.tokens
        await engine.forget(one.digest)
    assert await tokens(engine) == plain


async def test_one_that_cannot_be_applied_is_refused_and_neighbours_go_on(
    engine: Engine, made: list[Made], plain: list[int], tmp_path: Path
) -> None:
    """No files, and weights of another model: the second fails when some of its layers are in already."""
    other = AutoModelForCausalLM.from_config(
        _base().config.__class__(
            **{**_base().config.to_dict(), "intermediate_size": 640, "num_hidden_layers": 2}
        )
    )
    get_peft_model(
        other, LoraConfig(r=8, target_modules="all-linear", init_lora_weights=False)
    ).save_pretrained(str(tmp_path / "other"))
    await engine.adapt(made[0].digest, made[0].folder)
    neighbours = [asyncio.create_task(tokens(engine, made[0].digest)) for _ in range(4)]
    for name, folder in (("e" * 64, tmp_path / "nothing"), ("f" * 64, tmp_path / "other")):
        for _ in range(2):
            with pytest.raises(AdapterBroken, match=name[:12]) as refused:
                await engine.adapt(name, folder)
            assert str(tmp_path) not in refused.value.message
    assert await asyncio.gather(*neighbours) == [made[0].tokens] * 4
    with pytest.raises(KeyError):
        await tokens(engine, "f" * 64)
    await engine.forget(made[0].digest)
    for one in made:
        await engine.adapt(one.digest, one.folder)
        assert await tokens(engine, one.digest) == one.tokens, "a failed load left no trace"
    assert await tokens(engine) == plain
    for one in made:
        await engine.forget(one.digest)


def test_rows_are_grouped_by_adapter() -> None:
    assert grouped([0, 0, 0], {}) == []
    assert grouped([5, 5], {5: 1}) == [(1, None)], "all of them need no list"
    (slot, rows), (other, last) = grouped([0, 5, 5, 0, 9], {5: 1, 9: 0})
    assert (slot, other) == (1, 0)
    assert rows is not None
    assert last is not None
    assert (rows.tolist(), last.tolist()) == ([1, 2], [4])
