"""tool_choice auto, on a model whose chat template takes tools."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from core.config import MODEL_FOLDER
from core.ids import new_id
from tests.rig import Rig

TEMPLATE = (
    "{% for tool in tools or [] %}{{ tool.function.name }} {% endfor %}"
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{% for c in m.tool_calls or [] %}"
    "{{ c.function.arguments.n }}{% endfor %}\n{% endfor %}assistant:"
)
TOOLS: Any = [
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
]


@pytest.fixture(scope="module")
def tooled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """The scripted engine on a model with such a template."""
    model = Path(tmp_path_factory.mktemp("models")) / "tooled"
    model.mkdir()
    for name in ("tokenizer.json", "config.json"):
        shutil.copy(MODEL_FOLDER / name, model)
    (model / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    made = Rig(Path(tmp_path_factory.mktemp("tooled")), {"PENSTOCK_MODEL": str(model)})
    try:
        made.start_stack()
        made.start("api", "control", "inference")
        yield made
    finally:
        made.end()


async def test_a_model_calls_when_it_wants_to(tooled: Rig) -> None:
    async with AsyncOpenAI(
        base_url=f"{tooled.base_url}/v1",
        api_key=await tooled.key(new_id("t")),
        http_client=DefaultAsyncHttpxClient(trust_env=False, timeout=60),
    ) as ai:
        asked: dict[str, Any] = {"model": "tooled", "tools": TOOLS, "max_tokens": 60}
        # The scripted engine does as it is told.
        calling: list[Any] = [{"role": "user", "content": "[call weather]"}]
        choice = (await ai.chat.completions.create(messages=calling, **asked)).choices[0]
        (call,) = choice.message.tool_calls or []
        assert call.type == "function"
        assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"n": 1})
        assert (choice.message.content, choice.finish_reason) == ("Well.", "tool_calls")
        content, finish = "", None
        calls: list[Any] = []
        async for chunk in await ai.chat.completions.create(messages=calling, stream=True, **asked):
            delta = chunk.choices[0].delta
            content += delta.content or ""
            calls += delta.tool_calls or []
            finish = chunk.choices[0].finish_reason or finish
        assert (content.strip(), finish) == ("Well.", "tool_calls")
        assert [c.function.arguments for c in calls if c.function] == [call.function.arguments]
        # In the old words too; and as a response, whose words before the call are commentary.
        old: Any = {"model": "tooled", "max_tokens": 60, "functions": [TOOLS[0]["function"]]}
        legacy = (await ai.chat.completions.create(messages=calling, **old)).choices[0]
        assert legacy.message.function_call is not None
        assert legacy.message.function_call.model_dump() == call.function.model_dump()
        assert (legacy.message.content, legacy.finish_reason) == ("Well.", "function_call")
        flat: Any = [{"type": "function", **TOOLS[0]["function"]}]
        words: Any
        words, called = (
            await ai.responses.create(
                model="tooled", input="[call weather]", tools=flat, top_logprobs=0
            )
        ).output
        assert (words.phase, called.type) == ("commentary", "function_call")
        assert "".join(one.token for one in words.content[0].logprobs) == words.content[0].text
        # And it need not.
        talking: list[Any] = [{"role": "user", "content": "Only talk."}]
        said = (await ai.chat.completions.create(messages=talking, **asked)).choices[0]
        assert said.message.tool_calls is None
        assert said.message.content
        assert said.finish_reason == "length"
