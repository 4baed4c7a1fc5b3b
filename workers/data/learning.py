"""A row as token ids, and which of them are learned: the assistant's words with their end mark, nobody else's.

What is learned is found in the model's own chat template: by its {% generation %} marks where it has them, else by
rendering the conversation up to each answer and through it. Both must be beginnings of the whole, or the answer
would be trained in another place than it is asked for in.
"""

import json
from dataclasses import dataclass
from typing import Any

from core.catalog import marks
from core.catalog.tokenizer import Text
from core.errors import Refused
from workers.data.conversation import Row

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Document:
    """`loss`: 1 for each id that is learned. None of the first is: nothing comes before it to say it by."""

    ids: list[int]
    loss: bytearray


@dataclass(frozen=True, slots=True)
class Preference:
    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


def documents(row: Row, text: Text) -> list[Document]:
    """One for most rows. A conversation whose template drops parts of earlier turns, as those of thinking models
    do, gives one for each answer.

    Raises InvalidInput where the template refuses the row, Refused when it is of no use for training.
    """
    if "text" in row:
        return [_whole(row["text"], text)]
    if "messages" not in row and not text.chats:
        return [_plain(row, text)]
    said, tools = spoken(row), _tools(row, text)
    answers = _answers(row.get("messages", said))
    if text.marks_answers:
        return [_marked(answers, said, tools, text)]
    found = _spans(answers, said, tools, text)
    if found is not None:
        return [_document(*found, text, special=False)]
    return [_alone(said[: n + 1], tools, text) for n in answers]


def spoken(row: Row) -> list[dict[str, Any]]:
    """Messages as templates want them, and as core/jobs/messages.py gives them when the model is asked."""
    if "messages" not in row:
        return [
            {"role": "user", "content": row["prompt"]},
            {"role": "assistant", "content": row["completion"]},
        ]
    return [_templated(message) for message in row["messages"]]


def _templated(message: Row) -> dict[str, Any]:
    made = {name: value for name, value in message.items() if name != "weight"}
    if "tool_calls" in made:
        made["tool_calls"] = [
            call
            | {"function": call["function"] | {"arguments": _object(call["function"]["arguments"])}}
            for call in made["tool_calls"]
        ]
    return made


def _object(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _tools(row: Row, text: Text) -> list[dict[str, Any]] | None:
    return row.get("tools") if text.takes_tools else None


def _answers(messages: list[Row]) -> list[int]:
    return [n for n, m in enumerate(messages) if m["role"] == "assistant" and m.get("weight") != 0]


def _spans(
    answers: list[int], said: list[dict[str, Any]], tools: Any, text: Text
) -> tuple[str, list[Span]] | None:
    """The whole conversation, and where its learned answers are; None when one of them is rendered otherwise
    within the whole than at its end."""
    whole = text.render(said, tools, ask=False)
    spans: list[Span] = []
    for number in answers:
        asked = text.render(said[:number], tools)
        last = number + 1 == len(said)
        answered = whole if last else text.render(said[: number + 1], tools, ask=False)
        if not (answered.startswith(asked) and whole.startswith(answered)):
            return None
        spans.append((len(asked), len(answered)))
    return whole, spans


def _alone(said: list[dict[str, Any]], tools: Any, text: Text) -> Document:
    """A conversation of which the last answer is learned."""
    asked, answered = text.render(said[:-1], tools), text.render(said, tools, ask=False)
    if not answered.startswith(asked):
        raise Refused(_USELESS, code="chat_template_unsupported")
    return _document(answered, [(len(asked), len(answered))], text, special=False)


_USELESS = (
    "The model's chat template renders a conversation with an answer otherwise than the same conversation up to "
    "where the assistant speaks, so that what is to be learned cannot be found. Put {% generation %} and "
    "{% endgeneration %} around the assistant's text in the template, or use another model."
)


def _marked(answers: list[int], said: list[dict[str, Any]], tools: Any, text: Text) -> Document:
    whole, spans = marks.spans(text.render(said, tools, ask=False))
    turns = [n for n, m in enumerate(said) if m["role"] == "assistant"]
    if len(spans) != len(turns):
        message = f"marks {len(spans)} answers in a conversation that has {len(turns)}"
        raise Refused(f"The model's chat template {message}.", code="chat_template_unsupported")
    kept = [span for turn, span in zip(turns, spans, strict=True) if turn in set(answers)]
    return _document(whole, kept, text, special=False)


def _document(whole: str, spans: list[Span], text: Text, *, special: bool) -> Document:
    ids, places = text.located(whole, special=special)
    if _crossing(places, spans):
        # A token would be half question, half answer; asked for an answer, the model never sees it.
        return _in_parts(whole, spans, text, special=special)
    loss = bytearray(len(ids))
    at = 0
    for begin, end in spans:
        while at < len(ids) and (places[at][0] < begin or places[at][1] <= begin):
            at += 1
        first = at
        while at < len(ids) and places[at][0] < end:
            at += 1
        _learn(loss, ids, first, at, whole, places, text)
    return _begun(ids, loss)


def _crossing(places: list[Span], spans: list[Span]) -> bool:
    edges = iter(sorted({edge for span in spans for edge in span}))
    edge = next(edges, None)
    for begin, end in places:
        while edge is not None and edge <= begin:
            edge = next(edges, None)
        if edge is not None and begin < edge < end:
            return True
    return False


def _learn(
    loss: bytearray,
    ids: list[int],
    first: int,
    last: int,
    whole: str,
    places: list[Span],
    text: Text,
) -> None:
    """Mark ids[first:last], but not the blanks that a template puts behind the end mark: nobody generates them."""
    end = last
    while end > first and not whole[places[end - 1][0] : places[end - 1][1]].strip():
        end -= 1
    if end > first and ids[end - 1] in text.special:
        last = end
    loss[first:last] = b"\1" * (last - first)


def _in_parts(whole: str, spans: list[Span], text: Text, *, special: bool) -> Document:
    ids: list[int] = []
    loss = bytearray()
    at = 0
    for begin, end in [*spans, (len(whole), len(whole))]:
        before = text.encode(whole[at:begin], special=special and not at) if begin > at else []
        said, places = text.located(whole[begin:end], special=False)
        learned = bytearray(len(said))
        _learn(learned, said, 0, len(said), whole[begin:end], places, text)
        ids += before + said
        loss += bytes(len(before)) + learned
        at = end
    return _begun(ids, loss)


def _begun(ids: list[int], loss: bytearray) -> Document:
    if loss:
        loss[0] = 0
    return Document(ids, loss)


def _ended(ids: list[int], text: Text) -> list[int]:
    return ids if text.end is None or ids[-1:] == [text.end] else [*ids, text.end]


def _whole(said: str, text: Text) -> Document:
    """A text of which everything is learned, its end too."""
    ids = _ended(text.encode(said), text)
    return _begun(ids, bytearray(b"\1" * len(ids)))


def _plain(row: Row, text: Text) -> Document:
    """A prompt that the answer follows as it is written, for models without a chat template."""
    whole = row["prompt"] + row["completion"]
    made = _document(whole, [(len(row["prompt"]), len(whole))], text, special=True)
    # A tokenizer that puts an end mark behind everything has done it here.
    if made.ids and made.ids[-1] == text.end:
        made.loss[-1] = 1
    ids = _ended(made.ids, text)
    return Document(ids, made.loss + b"\1" * (len(ids) - len(made.ids)))


def preference(row: Row, text: Text) -> Preference:
    """Raises as `documents` does."""
    if "messages" not in row and not text.chats:
        prompt = text.encode(row["prompt"]) if row["prompt"] else []
        sides = [_ended(text.encode(row[n], special=False), text) for n in ("chosen", "rejected")]
        return Preference(prompt, *sides)
    if "messages" in row:
        said, answers = (
            spoken(row),
            [[_templated(m) for m in row[n]] for n in ("chosen", "rejected")],
        )
    else:
        said = [{"role": "user", "content": row["prompt"]}]
        answers = [[{"role": "assistant", "content": row[n]}] for n in ("chosen", "rejected")]
    tools = _tools(row, text)
    asked = marks.without(text.render(said, tools))
    prompt = text.encode(asked, special=False)
    sides = []
    for answer in answers:
        answered = marks.without(text.render(said + answer, tools, ask=False))
        if not answered.startswith(asked):
            raise Refused(_USELESS, code="chat_template_unsupported")
        sides.append(_side(asked, answered, prompt, text))
    return Preference(prompt, *sides)


def _side(asked: str, answered: str, prompt: list[int], text: Text) -> list[int]:
    """The ids of an answer after those of its prompt."""
    ids, places = text.located(answered, special=False)
    first, whole = len(prompt), answered
    if ids[:first] != prompt:
        # A token would be half prompt; the model is asked with the prompt's own.
        first, whole = 0, answered[len(asked) :]
        ids, places = text.located(whole, special=False)
    loss = bytearray(len(ids))
    _learn(loss, ids, first, len(ids), whole, places, text)
    return ids[first : loss.rfind(1) + 1]
