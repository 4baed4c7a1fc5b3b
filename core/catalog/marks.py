"""Jinja's tag {% generation %}, which chat templates put around what the assistant says, for training."""

from collections.abc import Callable

from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

# Noncharacters: no text holds them (the data pipeline takes them out), and they are cut before tokens are made.
BEGIN, END = "\ufdd0", "\ufdd1"


class Generation(Extension):
    """Marks what stands in the block; without it such a template could not be read at all."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it as an instance's

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        block = nodes.CallBlock(self.call_method("marked"), [], [], body)
        return block.set_lineno(line)

    def marked(self, caller: Callable[[], str]) -> str:
        return f"{BEGIN}{caller()}{END}"


def without(text: str) -> str:
    return text.replace(BEGIN, "").replace(END, "") if BEGIN in text else text


def spans(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without marks, and where what they enclosed begins and ends in it."""
    before, *marked = text.split(BEGIN)
    plain, found, size = [before], [], len(before)
    for part in marked:
        inside, _, after = part.partition(END)
        found.append((size, size + len(inside)))
        plain += [inside, after]
        size += len(inside) + len(after)
    return "".join(plain), found
