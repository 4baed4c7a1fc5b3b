"""What is wrong with training data: which file, line and field, and what to do about it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

# How many are told of: a file with more has one mistake many times.
MAX_PROBLEMS = 50
CODE = "invalid_training_file"

# Called with the field at fault and what to do.
Wrong = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Problem:
    """`line` counts from 1; 0 is the file as a whole, as an empty `field` is the line as a whole. Without a file it
    is about what was asked for."""

    file: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        if not self.file:
            return f"{self.field}: {self.message}" if self.field else self.message
        place = f"{self.file} line {self.line}" if self.line else self.file
        return f"{place}: {self.field} {self.message}" if self.field else f"{place}: {self.message}"


class Invalid(Exception):
    """The data, or what is wanted of them, cannot be used; every attempt would meet it."""

    def __init__(self, problems: list[Problem], *, code: str = CODE, param: str = "") -> None:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"{problems[0]}{more}")
        self.problems = problems
        self.code = code
        self.param = param

    def told(self) -> dict[str, Any]:
        """As an event."""
        return {
            "type": "failed",
            "code": self.code,
            "message": str(self),
            "param": self.param or None,
            "problems": [asdict(problem) for problem in self.problems],
        }


def whole(file: str, message: str, *, code: str = CODE, param: str = "") -> Invalid:
    """One problem of a file, or of the set, as a whole."""
    return Invalid([Problem(file, 0, "", message)], code=code, param=param)


class Problems:
    """Collects them until there are enough. `param`: of the request, that named the files."""

    def __init__(self, param: str) -> None:
        self.param = param
        self.found: list[Problem] = []

    def add(self, file: str, line: int, field: str, message: str) -> None:
        self.found.append(Problem(file, line, field, message))
        if len(self.found) >= MAX_PROBLEMS:
            self.check()

    def check(self) -> None:
        """Raises Invalid when there are any."""
        if self.found:
            raise Invalid(self.found[:MAX_PROBLEMS], param=self.param)
