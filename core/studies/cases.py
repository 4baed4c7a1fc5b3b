"""The prompt that is explained, as texts that may be edited and what the model is given of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.audits.asking import Answer, Ask, Rolling, Score, Write
from core.audits.likelihoods import encoded
from core.catalog import marks
from core.catalog.tokenizer import Text
from core.errors import InvalidInput
from core.jobs.explain import ExplainSpec
from core.jobs.messages import for_template
from core.studies import spans
from core.studies.explained import Aim
from core.studies.spans import Span, Texts


@dataclass(frozen=True, slots=True)
class Case:
    """`texts`: the prompt alone, or one for each of `messages`. `aim`: what is explained, where it is known before
    the model is asked."""

    texts: Texts
    messages: tuple[Mapping[str, Any], ...] = ()
    aim: Aim | None = None

    @property
    def roles(self) -> list[str | None]:
        return [str(one["role"]) for one in self.messages] or [None]

    def prompt(self, text: Text, texts: Texts) -> str:
        """What the model is given when these texts stand in place of its own. Raises InvalidInput."""
        if not self.messages:
            return texts[0]
        edited = [
            # A message that only calls tools has no content, and keeps none.
            {**one, "content": content if one["content"] is not None else None}
            for one, content in zip(self.messages, texts, strict=True)
        ]
        return marks.without(text.render(edited))


def of_spec(spec: ExplainSpec) -> Case:
    """Of a prompt or messages."""
    aim = Aim(spec.target, spec.contrast, "given") if spec.target is not None else None
    if spec.prompt is not None:
        return Case((spec.prompt,), aim=aim)
    messages = tuple(for_template(spec.messages or []))
    return Case(tuple(one["content"] or "" for one in messages), messages, aim)


def of_item(spec: ExplainSpec, ask: Ask, answer: Answer, *, chats: bool, text: Text) -> Case:
    """Of an item of an audit, and the answer that was recorded: the first tokens of what was written, or the likeliest
    continuation rather than the next one. Raises InvalidInput for an item that nothing can be taken from."""
    match ask:
        case Rolling():
            raise InvalidInput(
                "audit.item: it measures a whole text; there is no answer to explain",
                param="audit.item",
            )
        case Write():
            aim = _aim(
                spec, _begin(text, answer.texts[0], spec.answer_tokens) if answer.texts else ""
            )
            if chats:
                messages = tuple(ask.messages)
                return Case(tuple(one["content"] for one in messages), messages, aim)
            return Case((ask.plain,), aim=aim)
        case Score():
            return _scored(spec, ask, answer)


def _scored(spec: ExplainSpec, ask: Score, answer: Answer) -> Case:
    if len(answer.likelihoods) != len(ask.continuations):
        raise InvalidInput(
            "audit.item: it got no answer that could be explained", param="audit.item"
        )
    order = sorted(range(len(answer.likelihoods)), key=lambda k: -answer.likelihoods[k].logprob)
    context, target = ask.pairs[order[0]]
    if not context.strip():
        raise InvalidInput(
            "audit.item: nothing stands before what is scored; there is nothing to take away",
            param="audit.item",
        )
    second = ask.pairs[order[1]] if len(order) > 1 else None
    contrast = second[1] if second is not None and second[0] == context else None
    aim = _aim(spec, target)
    if aim is not None and aim.source == "audit" and spec.contrast is None:
        aim = Aim(aim.text, contrast, "audit")
    return Case((context,), aim=aim)


def _aim(spec: ExplainSpec, recorded: str) -> Aim | None:
    if spec.target is not None:
        return Aim(spec.target, spec.contrast, "given")
    return Aim(recorded, spec.contrast, "audit") if recorded else None


def _begin(text: Text, written: str, tokens: int) -> str:
    """The first tokens of an answer, as characters."""
    _, places = text.located(written, special=False)
    return written[: places[min(tokens, len(places)) - 1][1]] if places else ""


def cut(spec: ExplainSpec, case: Case) -> tuple[str, list[Span]]:
    """The unit and the spans. Raises InvalidInput where there is nothing to take away, or a swap finds no word."""
    for number, (one, other) in enumerate(spec.swaps):
        if spans.swapped(case.texts, one, other) is None:
            raise InvalidInput(
                f"swaps.{number}: neither {one!r} nor {other!r} is in the prompt",
                param=f"swaps.{number}",
            )
    unit, found = spans.split(case.texts, spec.unit, spec.max_spans)
    if not found:
        raise InvalidInput("The prompt has no word that could be taken away", param="prompt")
    return unit, found


def check_length(given: Sequence[int], answered: int, context: int) -> None:
    """Raises InvalidInput: half a prompt explained would be another prompt."""
    if len(given) + answered + 1 > context:
        raise InvalidInput(
            f"The prompt has {len(given)} tokens and the answer {answered}; the model reads {context - 1} together. "
            "Shorten the prompt.",
            param="prompt",
            code="context_length_exceeded",
        )


def admit(spec: ExplainSpec, text: Text, context: int) -> None:
    """What can be said of a prompt or messages before they are asked. Raises InvalidInput naming the field."""
    case = of_spec(spec)
    cut(spec, case)
    answered = (
        spec.answer_tokens if spec.target is None else len(text.encode(spec.target, special=False))
    )
    check_length(encoded(text, case.prompt(text, case.texts)), answered, context)
