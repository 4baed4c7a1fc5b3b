"""What a human sees of a start: a spinner with seconds on a terminal, plain lines elsewhere."""

import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.status import Status

# On a pipe or in CI a line now and then shows that it still lives.
REMIND_S = 10.0


@dataclass
class Progress:
    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))
    began: float = field(default_factory=time.monotonic)
    reminded: float = field(default_factory=time.monotonic)
    status: Status | None = None

    def say(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)

    def waiting(self, names: list[str]) -> None:
        """Called often while `names` are starting; with none the spinner goes."""
        now = time.monotonic()
        text = f"waiting for {', '.join(names)} ({now - self.began:.0f} s)"
        if not names:
            self.quiet()
        elif self.console.is_terminal:
            if self.status is None:
                self.status = self.console.status(text)
                self.status.start()
            self.status.update(text)
        elif now - self.reminded > REMIND_S:
            self.reminded = now
            self.say(text)

    def quiet(self) -> None:
        if self.status is not None:
            self.status.stop()
            self.status = None
