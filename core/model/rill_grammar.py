"""A small text grammar: rule files in, seeded sentences out; most of what rill learns from.

A rule file holds `== name` headers and one alternative a line. Inside an alternative:

    [rule]        one alternative of that rule ([Rule]: the same, with a capital letter)
    [a|b|]        one of these, here `a`, `b` or nothing
    {x:rule}      what x is bound to; at first it is bound to an alternative of the rule
    {x}           the same with the rule x ({X}: with a capital letter; {x.s}: its plural)
    \\n            a new line; a backslash makes `{`, `}`, `[` and `]` plain

A header `== name (fields)` makes every line a record `a|b|c`; binding x to it sets x, x2 and x3.
Within one document a rule repeats an alternative only when chance picks it four times in a row.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import NamedTuple

from core.errors import Refused

Bindings = dict[str, str]


class Var(NamedTuple):
    name: str
    rule: str | None
    capital: bool
    plural: bool


class Ref(NamedTuple):
    rule: str
    capital: bool


class Choice(NamedTuple):
    options: "tuple[Template, ...]"


Template = tuple["str | Var | Ref | Choice", ...]

_IRREGULAR = {"mouse": "mice", "goose": "geese", "sheep": "sheep", "fish": "fish"}
# "a" before a vowel becomes "an", but not before the sounds "you" and "w".
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeioAEIO]|u(?!ni|se))(?!one\b|once\b)")
_NAME = re.compile(r"[A-Za-z_0-9.]+\Z")


def plural(noun: str) -> str:
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def with_articles(text: str) -> str:
    """Turn "a" into "an" where it must be, and close the gaps of options that were left out."""
    return _ARTICLE.sub(r"\1n ", text.replace("  ", " "))


def _parse(text: str, at: int, *, nested: bool) -> tuple[tuple[Template, ...], int]:
    """Parse up to the closing bracket (nested) or the end; give the options and the next index."""
    options: list[Template] = []
    parts: list[str | Var | Ref | Choice] = []
    literal = ""
    while at < len(text):
        char = text[at]
        if char == "\\":
            literal += "\n" if text[at + 1] == "n" else text[at + 1]
            at += 2
            continue
        if char in "[{" or (nested and char in "|]"):
            if literal:
                parts.append(literal)
            literal = ""
        if char == "[":
            inner, at = _parse(text, at + 1, nested=True)
            parts.append(_bracket(inner))
        elif char == "{":
            end = text.index("}", at)
            parts.append(_variable(text[at + 1 : end]))
            at = end + 1
        elif nested and char == "]":
            return (*options, tuple(parts)), at + 1
        elif nested and char == "|":
            options.append(tuple(parts))
            parts = []
            at += 1
        else:
            literal += char
            at += 1
    if nested:
        raise Refused(f"a bracket is not closed in: {text}")
    return ((*parts, literal) if literal else tuple(parts),), at


def _bracket(options: tuple[Template, ...]) -> Ref | Choice:
    match options:
        case ((str(name),),) if _NAME.match(name):
            return Ref(name[0].lower() + name[1:], name[0].isupper())
    return Choice(options)


def _variable(text: str) -> Var:
    name, _, rule = text.partition(":")
    plural_wanted = text.endswith(".s")
    name, rule = name.removesuffix(".s"), rule.removesuffix(".s")
    return Var(name[0].lower() + name[1:], rule or None, name[0].isupper(), plural_wanted)


class Grammar:
    """Rules read from files; `expand` writes a rule with the given bindings and adds new ones."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self.lines: dict[str, list[str]] = {}
        self._fields: set[str] = set()
        for path in paths:
            self._read(path)
        self._rules = {
            name: [_parse(line, 0, nested=False)[0][0] for line in lines]
            for name, lines in self.lines.items()
            if name not in self._fields
        }
        self._check()

    def _read(self, path: Path) -> None:
        lines: list[str] = []
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("== "):
                name = line[3:].removesuffix(" (fields)").strip()
                if name in self.lines:
                    raise Refused(f"{path.name}: the rule {name} stands there twice")
                if line.endswith(" (fields)"):
                    self._fields.add(name)
                lines = self.lines[name] = []
            elif line and not line.startswith("#"):
                lines.append(line)

    def _check(self) -> None:
        def walk(template: Template) -> None:
            for part in template:
                match part:
                    case Ref(rule) | Var(_, str(rule)) if rule not in self.lines:
                        raise Refused(f"there is no rule {rule}")
                    case Choice(options):
                        for option in options:
                            walk(option)

        for templates in self._rules.values():
            for template in templates:
                walk(template)

    def expand(self, rule: str, bindings: Bindings, rng: Random) -> str:
        out: list[str] = []
        self._write(self._pick(rule, bindings, rng), bindings, rng, out)
        return with_articles("".join(out))

    def write(self, rule: str, index: int, bindings: Bindings, rng: Random) -> str:
        """Like `expand`, but with the alternative of that index."""
        out: list[str] = []
        self._write(self._rules[rule][index], bindings, rng, out)
        return with_articles("".join(out))

    def bind(self, name: str, rule: str, bindings: Bindings, rng: Random) -> None:
        if rule in self._fields:
            lines = self.lines[rule]
            for index, field in enumerate(
                lines[int(rng.random() * len(lines))].split("|"), start=1
            ):
                bindings[name if index == 1 else f"{name}{index}"] = field
        else:
            bindings[name] = self.expand(rule, bindings, rng)

    def _pick(self, rule: str, bindings: Bindings, rng: Random) -> Template:
        templates = self._rules[rule]
        for _ in range(4):
            index = int(rng.random() * len(templates))
            mark = f"\0{rule}{index}"
            if mark not in bindings:
                break
        bindings[mark] = ""
        return templates[index]

    def _write(self, template: Template, bindings: Bindings, rng: Random, out: list[str]) -> None:
        for part in template:
            if isinstance(part, str):
                out.append(part)
            elif isinstance(part, Choice):
                options = part.options
                self._write(options[int(rng.random() * len(options))], bindings, rng, out)
            elif isinstance(part, Ref):
                inner: list[str] = []
                self._write(self._pick(part.rule, bindings, rng), bindings, rng, inner)
                text = "".join(inner)
                out.append(capitalised(text) if part.capital else text)
            else:
                if part.name not in bindings:
                    rule = part.rule or part.name.rstrip("0123456789")
                    if rule not in self.lines:
                        raise Refused(f"{part.name} is not bound")
                    self.bind(part.name, rule, bindings, rng)
                text = bindings[part.name]
                text = plural(text) if part.plural else text
                out.append(capitalised(text) if part.capital else text)
