"""What tests of the guard share: rules, texts as they leave, and an engine that says what it is told."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from core.catalog.tokenizer import Text
from core.guard.correcting import Strings, pieces, said
from core.guard.guard import Guard, compiled
from core.guard.passage import Stretch
from core.guard.settings import GuardSettings
from workers.engine import Chunk, Likely, Request

ENFORCED = {
    "mode": "enforce",
    "lexicons": [
        {
            "category": "slur",
            "terms": ["badword", "kill yourself", "very bad thing"],
            "severe": True,
        },
        {
            "category": "plain",
            "terms": ["grue", "\u0442\u0435\u0441\u0442\u043e\u0432\u043e", "\u574f\u8bdd"],
        },
    ],
    "patterns": [{"category": "staff", "pattern": r"EMP-\d{6}"}],
}


def guard(**fields: object) -> Guard:
    """ENFORCED with these fields, ready."""
    made = compiled(GuardSettings.model_validate(ENFORCED | fields))
    assert made is not None
    return made


def spoken(stretches: Sequence[Stretch], strings: Strings | None = None) -> str:
    return "".join(said(list(pieces(one, strings))) for one in stretches)


def whole(by: Guard, text: str, *, escaped: bool = False) -> str:
    """The text as it leaves when it comes at once."""
    passage, strings = by.passage(escaped=escaped), Strings() if escaped else None
    return spoken(passage.feed(text), strings) + spoken(passage.finish(), strings)


@dataclass
class Parrot:
    """An engine that says `lines`, token by token; `at_once`: so many tokens in a chunk. It goes on behind tokens of
    the answer that the prompt ends with, and says forced ones again, as engines do."""

    text: Text
    line: str
    at_once: int = 1
    asked: list[Request] = field(default_factory=list)

    async def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        self.asked.append(request)
        tokens = self.text.encode(self.line, special=False)
        begun = next((n for n in range(len(tokens), 0, -1) if request.prompt[-n:] == tokens[:n]), 0)
        for at in range(begun, len(tokens), self.at_once):
            some = tokens[at : at + self.at_once]
            before, upto = self.text.decode(tokens[:at]), self.text.decode(tokens[: at + len(some)])
            last = at + len(some) >= len(tokens)
            likely = [] if request.logprobs is None else [
                Likely(t, -0.5, [(t, -0.5), *((o, -1.0) for o in tokens[: request.logprobs - 1])]) for t in some
            ]  # fmt: skip
            # Half a character at the end has no text yet.
            new = (
                upto.rstrip("\ufffd")[len(before.rstrip("\ufffd")) :]
                if not last
                else upto[len(before.rstrip("\ufffd")) :]
            )
            yield Chunk(new, some, "stop" if last else None, likely)
