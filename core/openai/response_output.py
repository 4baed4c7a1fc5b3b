"""The output items of a response, as far as they are known: a function of the answer's text and its end."""

from dataclasses import dataclass, field
from typing import Any

from core.jobs import tools
from core.jobs.inference import choices
from core.jobs.job import TERMINAL, Job, State
from core.jobs.tools import Choice
from core.openai import answers, likely

FINAL, COMMENTARY = "final_answer", "commentary"


@dataclass(frozen=True, slots=True)
class Item:
    """A message (`name` is None) or a call, whose text is its arguments. `open`: more of it may come."""

    id: str
    text: str
    name: str | None = None
    call_id: str = ""
    open: bool = False
    # Of a call that was read out of the whole answer: nothing of it was said before.
    at_once: bool = False
    cut: bool = False
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    # What a message is to the turn, once that is known: words before calls, or the answer itself.
    phase: str | None = None

    def shown(self, *, begun: bool = False) -> dict[str, Any]:
        """As clients read it; `begun`: before anything of it was said."""
        status = "in_progress" if begun else "incomplete" if self.cut else "completed"
        if self.name is not None:
            return {
                "id": self.id,
                "type": "function_call",
                "status": status,
                "call_id": self.call_id,
                "name": self.name,
                "arguments": "" if begun else self.text,
            }
        content = [] if begun else [self.part()]
        message = {
            "id": self.id, "type": "message", "status": status, "role": "assistant", "content": content
        }  # fmt: skip
        return message if begun or self.phase is None else message | {"phase": self.phase}

    def part(self, *, begun: bool = False) -> dict[str, Any]:
        return {
            "type": "output_text",
            "annotations": [],
            "logprobs": [] if begun else self.logprobs,
            "text": "" if begun else self.text,
        }


def _message(job_id: str, text: str, **more: Any) -> Item:
    return Item(f"msg_{job_id.removeprefix('job_')}", text, **more)


def _call(job_id: str, number: int, name: str, text: str, **more: Any) -> Item:
    tail = job_id.removeprefix("job_")
    known = {"call_id": tools.call_id(job_id, 0, number)} | more
    return Item(f"fc_{tail}{number:02d}", text, name, **known)


def so_far(
    job_id: str, use: Choice, text: str, told: list[dict[str, Any]] | None = None
) -> Item | None:
    """The item that is being said. Text that may turn out to be a call is no part of one yet.

    `told`: log probabilities of the tokens so far, as the answer shows them.
    """
    match use.kind:
        case "required":
            return None
        case "named":
            return _call(job_id, 0, use.name or "", text, open=True) if text else None
        case "auto":
            text = before_call(text)
    return _message(job_id, text, open=True, logprobs=told or []) if text else None


def within(text: str, told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the log probabilities those of tokens that end within `text`, counted in bytes."""
    size, end = len(text.encode()), 0
    for count, one in enumerate(told):
        end += len(one["bytes"])
        if end > size:
            return told[:count]
    return told


def before_call(text: str) -> str:
    """What is surely said in words; white space before a call belongs to neither."""
    return text[: tools.free(text)].rstrip()


def ended(job: Job) -> list[Item]:
    """The items of a job that has ended, or that Postgres knows of one that has not."""
    use = choice_of(job)
    if job.state == State.SUCCEEDED:
        return _succeeded(job, use, answers.choices(job.result or {})[0])
    said = choices(job.progress)[0] if job.progress is not None else job.result or {}
    text = said.get("text", "")
    told = _told(said) or _told(next(iter(said.get("choices") or ()), {}))
    if State(job.state) not in TERMINAL:
        item = so_far(job.id, use, text, told)
        return [] if item is None else [item]
    if not text:
        return []
    if use.kind == "named":
        return [_call(job.id, 0, use.name or "", text, cut=True)]
    return [_message(job.id, text, cut=True, logprobs=told)]


def _told(one: dict[str, Any]) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = likely.chat(one.get("logprobs") or [])["content"]
    return content


def choice_of(job: Job) -> Choice:
    return tools.chosen(job.spec.get("tools"), job.spec.get("tool_choice"))


def _succeeded(job: Job, use: Choice, one: dict[str, Any]) -> list[Item]:
    text, calls = one["text"], one.get("tool_calls") or []
    cut = one["finish_reason"] in ("length", "content_filter")
    told = _told(one)
    if use.kind == "named":
        return [_call(job.id, 0, use.name or "", text, cut=cut)]
    if not calls:
        return [_message(job.id, text, cut=cut, logprobs=told, phase=None if cut else FINAL)]
    words = before_call(text) if use.kind == "auto" else ""
    before = {"logprobs": within(words, told), "phase": COMMENTARY}
    items = [_message(job.id, words, **before)] if words else []
    for number, call in enumerate(calls):
        known = call["function"]
        items.append(
            _call(
                job.id, number, known["name"], known["arguments"], call_id=call["id"], at_once=True
            )
        )
    return items
