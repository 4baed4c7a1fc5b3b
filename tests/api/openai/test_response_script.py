"""The numbers of a response's events do not depend on how its text came, nor on where a reader began."""

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from api.routes.openai.response_script import BLOCK, Event, Script, blocks
from core.ids import new_id
from core.jobs import tools
from core.jobs.job import Job
from core.jobs.tools import CLOSE, OPEN, Choice
from core.openai import response_output as output
from core.openai.likely import chat

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
    said["logprobs"] = likely(text)
    partial = {"text": text, "choices": [said]}
    result = {"finish_reason": "stop", "choices": [said]} if state == "succeeded" else partial
    return Job(id=JOB, state=state, result=result, spec={"tools": [{}], "tool_choice": choice})


def likely(text: str) -> list[dict[str, Any]]:
    """As results have it, of tokens of a few bytes each, some of which end within a character."""
    raw, size = text.encode(), [1, 3, 2, 5]
    found: list[dict[str, Any]] = []
    at = 0
    while at < len(raw):
        piece = raw[at : at + size[len(found) % 4]]
        token = piece.decode(errors="replace")
        found.append({"token": token, "logprob": -1.0 * at, "bytes": list(piece), "top": []})
        at += len(piece)
    return found


def known(text: str, seen: str) -> list[dict[str, Any]]:
    """Of the whole text's tokens those that a reader of its beginning knows: none is told before its text is."""
    shown: list[dict[str, Any]] = chat(likely(text))["content"]
    return output.within(seen, shown)


def chosen(use: str) -> Choice:
    return Choice(use, "f" if use == "named" else None)


def told(use: str, seen: list[str], ended: Job) -> list[Event]:
    """The events for a reader that saw the text grow in these steps."""
    assert ended.result is not None
    whole = ended.result["choices"][0]["text"]
    script = Script(JOB, chosen(use))
    events = [*script.accepted(), *script.running()]
    for text in seen:
        events += script.more(text, known(whole, text))
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
        before += script.more(part, known(text, part))
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
        heard = [one for _, kind, d in events if kind.endswith("text.delta")
                 and d["output_index"] == index for one in d["logprobs"]]  # fmt: skip
        assert heard == output.within(item.text, item.logprobs)


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
