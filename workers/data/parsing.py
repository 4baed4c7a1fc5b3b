"""JSON with what orjson lets pass: names given twice, numbers that are none, half characters."""

import json
from collections.abc import Iterator
from typing import Any


class NotJson(ValueError):
    """`str()` is what to tell; `field` the name at fault, if it is one."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise NotJson(f"{twice!r} is given twice in one object; keep one of them", twice)
    return made


def _number(name: str) -> Any:
    raise NotJson(f"{name} is no JSON number; leave it out or write null")


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_number)


def parsed(text: str) -> Any:
    """Raises NotJson, which says where and why."""
    try:
        return _DECODER.decode(text)
    except NotJson:
        raise
    except json.JSONDecodeError as error:
        raise NotJson(f"is not JSON: {error.msg} at character {error.colno}") from error
    except RecursionError as error:
        raise NotJson("nests too deeply to be a row") from error
    except ValueError as error:  # an integer of thousands of digits
        raise NotJson(f"is not JSON we can read: {error}") from error


class _Text:
    """The part of an array that is read and not yet used up. `line`: where `at` is."""

    def __init__(self, parts: Iterator[tuple[int, str]]) -> None:
        self._parts = parts
        self.text, self.at, self.line, self.last = "", 0, 1, 1

    def grow(self, size: int) -> bool:
        """Read on until `size` characters lie ahead; False when there is nothing more."""
        more = [self.text[self.at :]]
        have = len(more[0])
        while have < size and (part := next(self._parts, None)) is not None:
            self.last = part[0]
            more.append(part[1] + "\n")
            have += len(more[-1])
        self.text, self.at = "".join(more), 0
        return len(more) > 1

    def mark(self) -> str:
        """The next character that is not blank; stays there."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in " \t\r\n":
                self.line += self.text[self.at] == "\n"
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.grow(1):
                raise NotJson(f"line {self.last}: the array does not end; the file is cut off")

    def value(self, longest: int) -> Any:
        """The element that begins here. What is tried doubles, so that a long one costs no square."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
            except NotJson as error:
                raise NotJson(f"line {self.line}: {error}", error.field) from error
            except (ValueError, RecursionError) as error:
                ahead = len(self.text) - self.at
                if ahead > longest or not self.grow(2 * ahead):
                    raise NotJson(
                        f"line {self.line}: the row here is cut off or not JSON"
                    ) from error
                continue
            self.line += self.text.count("\n", self.at, end)
            self.at = end
            return value


def elements(parts: Iterator[tuple[int, str]], longest: int) -> Iterator[tuple[int, Any]]:
    """(line, value) of each element of a JSON array that comes in lines; `line` is where it begins.

    About one element is held. Raises NotJson; its message names the line.
    """
    text = _Text(parts)
    text.mark()
    text.at += 1  # the bracket, which the caller has seen
    after = False
    while (mark := text.mark()) != "]":
        if after and mark != ",":
            raise NotJson(f"line {text.line}: there must be a comma between two rows")
        if after:
            text.at += 1
            after = False
            continue
        line = text.line
        yield line, text.value(longest)
        after = True
