"""All the rules of one guard over one piece of text: what they find, and from where on they may still find more."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from core.guard import encodings
from core.guard.folding import View, seen
from core.guard.lexicon import Term, Tree
from core.guard.rule import Rule
from core.guard.spans import Act, Span


@dataclass(frozen=True)
class Scanner:
    """`rules` and `terms` find categories; `acts` says what each of these comes to, "off": it is not looked for."""

    rules: tuple[Rule, ...]
    terms: tuple[Term, ...]
    acts: Mapping[str, Act]
    _tree: Tree = field(init=False)
    _rules: tuple[Rule, ...] = field(init=False)

    def __post_init__(self) -> None:
        wanted = [term for term in self.terms if term.category in self.acts]
        severe = [term for term in wanted if term.severe]
        found = [rule for rule in self.rules if rule.category in self.acts]
        if severe and "encoded" in self.acts:
            found += encodings.rules(Tree(severe))
        object.__setattr__(self, "_tree", Tree(wanted))
        object.__setattr__(self, "_rules", tuple(found))

    def scan(self, before: str, view: View, *, final: bool) -> tuple[list[Span], int]:
        """The spans that begin in the raw text of `view`, and the raw place up to which no further one can begin.

        `before`: the character of a view that stands before this one; empty at the beginning of a text."""
        text, behind = before + view.text, len(before)
        hold = len(text)
        found: list[tuple[int, int, str]] = []
        there: dict[str, bool] = {}
        for rule in self._rules:
            if rule.needs not in there:
                there[rule.needs] = not rule.needs or any(map(text.__contains__, rule.needs))
            if there[rule.needs]:
                found += ((begin, end, rule.category) for begin, end in rule.spans(text, behind))
            if not final:
                hold = min(hold, rule.open_from(text, behind))
        terms, open_from = self._tree.walked(text, behind, final=final)
        spans = list(self._placed(view, behind, [*found, *terms]))
        return spans, view.place(min(hold, open_from) - behind)

    def _placed(
        self, view: View, behind: int, found: Iterable[tuple[int, int, str]]
    ) -> Iterable[Span]:
        for begin, end, category in found:
            act = self.acts[category]
            yield Span(*view.raw(begin - behind, end - behind), act, ((category, act.action),))

    def hides(self, before: str, text: str, *, escaped: bool = False) -> bool:
        """Whether something that is not to be said would begin in `text` or reach into it, if it came after
        `before`: for what a model might have said, which nobody follows up."""
        spans, _ = self.scan("", seen(before + text, escaped=escaped), final=True)
        at = len(before)
        return any(span.end > at and span.act.action != "observe" for span in spans)
