"""The numbers of a response's events do not depend on how its text came, nor on where a reader began."""

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from api.routes.openai import response_output as output
from api.routes.openai.response_script import BLOCK, Event, Script, blocks
from core.ids import new_id
from core.jobs import tools
from core.jobs.job import Job
from core.jobs.tools import CLOSE, OPEN, Choice

JOB = new_id("job")
TEXT = st.text(st.sampled_from('ab \n{}"<tool_call>/é河🦀'), max_size=80)
CALLED = TEXT.map(lambda t: f'{t}{OPEN}{{"name": "f", "arguments": {{"x": 1}}}}{CLOSE}')
USES = st.sampled_from(["none", "auto", "required", "named"])
CUTS = st.lists(st.integers(0, 130), max_size=12)


def job(use: str, text: str, state: str) -> Job:
    """As Postgres has it at the end."""
    choice: Any = {"named": {"type": "function", "function": {"name": "f"}}}.get(use, use)
    content, calls = tools.calls(text, chosen(use))
    told = [{"id": f"c{i}", "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
            for i, c in enumerate(calls)]  # fmt: skip
    said = {
        "index": 0,
        "text": text,
        "content": content,
        "tool_calls": told,
        "finish_reason": "stop",
    }
    result = (
        {"finish_reason": "stop", "choices": [said]} if state == "succeeded" else {"text": text}
    )
    return Job(id=JOB, state=state, result=result, spec={"tools": [{}], "tool_choice": choice})


def chosen(use: str) -> Choice:
    return Choice(use, "f" if use == "named" else None)


def told(use: str, seen: list[str], ended: Job) -> list[Event]:
    """The events for a reader that saw the text grow in these steps."""
    script = Script(JOB, chosen(use))
    events = [*script.accepted(), *script.running()]
    for text in seen:
        events += script.more(text)
    return events + list(script.end(output.ended(ended), "completed"))


@given(USES, TEXT | CALLED, CUTS, CUTS, st.sampled_from(["succeeded", "failed", "cancelled"]))
def test_every_way_of_growing_tells_the_same_events(
    use: str, text: str, cuts: list[int], others: list[int], state: str
) -> None:
    ended = job(use, text, state)
    # A step may be a token, many of them at once, or a snapshot that says again what was known.
    first = told(use, [text[:cut] for cut in sorted(cuts)], ended)
    second = told(use, [text[:cut] for cut in sorted(others)], ended)
    assert first == second == told(use, [], ended)
    assert [number for number, _, _ in first] == list(range(len(first)))


@given(USES, TEXT | CALLED, CUTS, st.integers(0, 12))
def test_a_reader_that_comes_back_misses_and_repeats_nothing(
    use: str, text: str, cuts: list[int], left: int
) -> None:
    ended = job(use, text, "succeeded")
    seen = [text[:cut] for cut in sorted(cuts)]
    script = Script(JOB, chosen(use))
    before = [*script.accepted(), *script.running()]
    for part in seen[:left]:
        before += script.more(part)
    cursor = before[-1][0]
    after = [event for event in told(use, seen[left:], ended) if event[0] > cursor]
    events = before + after
    assert [number for number, _, _ in events] == list(range(len(events)))
    for index, item in enumerate(output.ended(ended)):
        deltas = [
            d["delta"]
            for _, kind, d in events
            if kind.endswith(".delta") and d["output_index"] == index
        ]
        assert "".join(deltas) == item.text


@given(TEXT, st.integers(0, 80))
def test_deltas_are_small_and_cut_by_the_text_alone(text: str, cut: int) -> None:
    whole = list(blocks(text, 0, whole=True))
    assert "".join(whole) == text
    grown = list(blocks(text[:cut], 0, whole=False))
    assert whole[: len(grown)] == grown
    # What is held back never fills a delta.
    assert sum(1 if c.isascii() else BLOCK for c in text[len("".join(grown)) : cut]) < BLOCK
    assert all(len(delta) <= BLOCK for delta in whole)


@given(TEXT | CALLED)
def test_what_is_said_before_a_call_only_grows(text: str) -> None:
    said = [output.before_call(text[:n]) for n in range(len(text) + 1)]
    assert all(later.startswith(earlier) for earlier, later in pairwise(said))
