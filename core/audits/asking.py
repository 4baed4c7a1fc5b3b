"""What a suite asks of a model, and what it gets: text that was written, or how likely given text is."""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Write:
    """Have the model write. `text`: the question, put into the model's chat template where the audit says so and as
    it is otherwise. `before`: messages (role, text) that stand before it in the chat; where none is rendered they
    stand before it as text, a blank line apart. `n` draws, of which each is an answer of its own."""

    text: str
    max_tokens: int
    stop: tuple[str, ...] = ()
    n: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    before: tuple[tuple[str, str], ...] = ()

    @property
    def plain(self) -> str:
        """What the model is given where no chat is rendered."""
        return "\n\n".join([*(text for _, text in self.before), self.text])

    @property
    def messages(self) -> list[dict[str, str]]:
        """What it is given where one is."""
        said = [{"role": role, "content": text} for role, text in self.before]
        return [*said, {"role": "user", "content": self.text}]


@dataclass(frozen=True, slots=True)
class Score:
    """How likely each of `continuations` is after `context`, which may be empty; `contexts`: one for each
    continuation, where they differ."""

    context: str
    continuations: tuple[str, ...]
    contexts: tuple[str, ...] = ()

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Each continuation with what it follows."""
        contexts = self.contexts or (self.context,) * len(self.continuations)
        return tuple(zip(contexts, self.continuations, strict=True))


@dataclass(frozen=True, slots=True)
class Rolling:
    """How likely a whole text is, read in windows of `window` tokens that move on by `stride`; 0: the model's context
    and half of it. Only tokens that no window before has scored count.

    `strided`, as Hugging Face documents perplexity: the first token is given, never scored. `disjoint`, as lm-eval
    reads: the text follows the model's first token, so that all of it is scored, `window` tokens at a time with one
    of context, and the last window reaches back to be full.
    """

    text: str
    window: int = 0
    stride: int = 0
    reading: Literal["strided", "disjoint"] = "strided"


Ask = Write | Score | Rolling


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Of one continuation or text: the sum of its tokens' log probabilities (nats), how many tokens were scored, the
    UTF-8 bytes they stand for, and whether each was the likeliest in its place."""

    logprob: float
    tokens: int
    bytes: int
    greedy: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """`texts`: one for each draw of a Write. `likelihoods`: one for each continuation, or one of a Rolling text."""

    texts: tuple[str, ...] = ()
    likelihoods: tuple[Likelihood, ...] = ()
    finish: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """One question. `id`: the same in every run of a suite's version on the same file; `data`: what scoring needs
    beside the answer (JSON). `cluster`, `groups`, `pair`: see core.measures.rows.Row."""

    id: str
    ask: Ask
    cluster: str
    groups: dict[str, str] = field(default_factory=dict)
    pair: str = ""
    data: dict[str, Any] = field(default_factory=dict)
