"""What can go wrong, by category; each concrete error stands beside its rule.

PenstockError
|-- InvalidInput       the request is wrong: names the field and what to do
|   `-- TooLarge       it holds more bytes than are taken
|-- Unauthenticated    no key, or not one of ours
|-- NotFound           not there, or another tenant's
|-- Conflict           the state does not allow it; asking again will not help
|-- TooMany            a limit was reached; later may help
|-- Unavailable        a dependency is down; later will help
|-- Retryable          a worker's error that another attempt may not meet
`-- Refused            a worker's error that every attempt would meet
"""


class PenstockError(Exception):
    """`message` is for the client; `param` names the field at fault; `code` is for programs."""

    code = "error"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or type(self).code


class InvalidInput(PenstockError):
    code = "invalid_value"


class TooLarge(InvalidInput):
    code = "body_too_large"


class Unauthenticated(PenstockError):
    code = "invalid_api_key"


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
