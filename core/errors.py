"""What can go wrong, by category; each concrete error stands beside its rule.

PenstockError
|-- InvalidInput       the request is wrong: names the field and what to do
|   `-- TooLarge       it holds more bytes than are taken
|-- Unauthenticated    no key, or not one of ours
|-- Forbidden          the key is good, and not for this
|-- NotFound           not there, or another tenant's
|-- Conflict           the state does not allow it; asking again will not help
|-- TooMany            a limit was reached; later may help
|-- Unavailable        a dependency is down; later will help
|-- Retryable          a worker's error that another attempt may not meet
`-- Refused            a worker's error that every attempt would meet
"""

from collections.abc import Mapping
from typing import Any


class PenstockError(Exception):
    """`message` is for the client; `param` names the field at fault; `code` is for programs; `details`: more fields
    of the error's body, where it has any."""

    code = "error"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.details: Mapping[str, Any] = {}
        self.message = message
        self.param = param
        self.code = code or type(self).code


class InvalidInput(PenstockError):
    code = "invalid_value"


class TooLarge(InvalidInput):
    code = "body_too_large"


class Unauthenticated(PenstockError):
    code = "invalid_api_key"


class Forbidden(PenstockError):
    code = "forbidden"


class NotFound(PenstockError):
    code = "not_found"


class Conflict(PenstockError):
    code = "conflict"


class TooMany(PenstockError):
    code = "rate_limit_exceeded"

    def __init__(
        self, message: str, *, retry_after_s: float = 1.0, code: str | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class Unavailable(PenstockError):
    code = "unavailable"


class Retryable(PenstockError):
    code = "worker_error"


class Refused(PenstockError):
    code = "refused"
