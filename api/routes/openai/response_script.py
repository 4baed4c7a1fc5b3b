"""The events of a response in order: the same ones under the same numbers however its text arrives.

    0 created  1 queued  2 in_progress  3 item added  4 part added  5 delta  6 delta ...  n completed

A delta holds BLOCK ASCII characters, or fewer where others are among them: where deltas are cut depends on
the text alone, not on how it was generated, sent or summed up (docs/decisions/0012).
"""

from collections.abc import Iterator
from typing import Any

from core.jobs.tools import Choice
from core.openai import response_output as output
from core.openai.response_output import Item

BLOCK = 4
Event = tuple[int, str, dict[str, Any]]


def blocks(text: str, at: int, *, whole: bool) -> Iterator[str]:
    """The deltas of `text` from `at`, which is where one begins. What may still grow is left, unless `whole`."""
    start, weight = at, 0
    for position in range(at, len(text)):
        weight += 1 if text[position].isascii() else BLOCK
        if weight >= BLOCK:
            yield text[start : position + 1]
            start, weight = position + 1, 0
    if whole and start < len(text):
        yield text[start:]


class Script:
    """Numbers the events of one response from 0. Fed everything that is known, it tells what is new."""

    def __init__(self, job_id: str, use: Choice) -> None:
        self._job_id, self._use = job_id, use
        self.number = -1
        self._running = False
        self._index = 0
        self._open = False
        self._said = 0
        # Of the message's tokens, those told of with deltas so far, and bytes of text and of these tokens.
        self._told = self._text_bytes = self._token_bytes = 0

    def accepted(self) -> Iterator[Event]:
        yield self._event("response.created", {})
        yield self._event("response.queued", {})

    def running(self) -> Iterator[Event]:
        if not self._running:
            self._running = True
            yield self._event("response.in_progress", {})

    def more(self, text: str, told: list[dict[str, Any]] | None = None) -> Iterator[Event]:
        """`text`: the whole answer so far; `told`: the log probabilities of its tokens, where asked for."""
        item = output.so_far(self._job_id, self._use, text, told)
        if item is not None:
            yield from self._say(item)

    def end(self, items: list[Item], outcome: str) -> Iterator[Event]:
        """`outcome`: completed, failed or incomplete."""
        for item in items:
            yield from self._say(item)
            yield from self._done(item)
        yield self._event(f"response.{outcome}", {})

    def _say(self, item: Item) -> Iterator[Event]:
        where = {"output_index": self._index}
        if not self._open:
            self._open = True
            added = where | {"item": item.shown(begun=True)}
            yield self._event("response.output_item.added", added)
            if item.name is None:
                part = self._part(item) | {"part": item.part(begun=True)}
                yield self._event("response.content_part.added", part)
        if item.name is not None:
            kind, at = "response.function_call_arguments.delta", where | {"item_id": item.id}
        else:
            kind, at = "response.output_text.delta", self._part(item)
        for delta in (
            [item.text] if item.at_once else blocks(item.text, self._said, whole=not item.open)
        ):
            self._said += len(delta)
            told = {} if item.name is not None else {"logprobs": self._ending_in(delta, item)}
            yield self._event(kind, at | {"delta": delta} | told)

    def _ending_in(self, delta: str, item: Item) -> list[dict[str, Any]]:
        """The log probabilities of the tokens that end in this delta: they depend on text and tokens alone."""
        self._text_bytes += len(delta.encode())
        first = self._told
        while self._told < len(item.logprobs):
            end = self._token_bytes + len(item.logprobs[self._told]["bytes"])
            if end > self._text_bytes:
                break
            self._token_bytes, self._told = end, self._told + 1
        return item.logprobs[first : self._told]

    def _part(self, item: Item) -> dict[str, Any]:
        return {"output_index": self._index, "item_id": item.id, "content_index": 0}

    def _done(self, item: Item) -> Iterator[Event]:
        where = {"output_index": self._index}
        if item.name is not None:
            whole = where | {"item_id": item.id, "name": item.name, "arguments": item.text}
            yield self._event("response.function_call_arguments.done", whole)
        else:
            said = {"text": item.text, "logprobs": item.logprobs}
            yield self._event("response.output_text.done", self._part(item) | said)
            part = self._part(item) | {"part": item.part()}
            yield self._event("response.content_part.done", part)
        yield self._event("response.output_item.done", where | {"item": item.shown()})
        self._index, self._open, self._said = self._index + 1, False, 0

    def _event(self, kind: str, data: dict[str, Any]) -> Event:
        self.number += 1
        return self.number, kind, data
