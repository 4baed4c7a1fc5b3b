"""A fine-tuning job as the command line reads it: the job, its events so far, and the curves in them."""

from dataclasses import dataclass, field
from typing import Any

from infra.cli.plot import Curve, Point
from infra.cli.remote import Remote

JOBS = "/v1/fine_tuning/jobs"
ENDED = {"succeeded", "failed", "cancelled"}
# The first look may find thousands, the later ones find some.
WHOLE, PAGE = 1000, 100


@dataclass
class Training:
    """What has been read. `events`: oldest first; asked for again, only newer ones are fetched."""

    id: str
    job: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)

    def read(self, remote: Remote) -> list[dict[str, Any]]:
        """Look again; returns the new events. The job comes first: the end is then among the events."""
        self.job = remote.ask("GET", f"{JOBS}/{self.id}")
        newer = self._newer(remote)
        self.events += newer
        return newer

    def _newer(self, remote: Remote) -> list[dict[str, Any]]:
        """Down to a page of which all is known: what two processes tell at once may come out of order."""
        known = {event["id"] for event in self.events}
        found: list[dict[str, Any]] = []
        query: dict[str, Any] = {"limit": PAGE if known else WHOLE}
        while True:
            page = remote.ask("GET", f"{JOBS}/{self.id}/events", params=query)
            new = [event for event in page["data"] if event["id"] not in known]
            found += new
            if not (page["has_more"] and new):
                return found[::-1]
            query["after"] = page["last_id"]

    @property
    def ended(self) -> bool:
        return self.job.get("status") in ENDED

    @property
    def state(self) -> str:
        return "paused" if self.job.get("paused") else str(self.job.get("status"))

    def points(self, name: str) -> list[Point]:
        """A metric by steps. One that was taken again, after its worker died, is there as it was last."""
        found: dict[float, float] = {}
        for event in self.events:
            data = event.get("data") or {}
            if event["type"] == "metrics" and data.get(name) is not None and "step" in data:
                found[float(data["step"])] = float(data[name])
        return sorted(found.items())

    def curves(self) -> list[Curve]:
        return [
            Curve("training loss", self.points("train_loss"), "cyan"),
            Curve("validation loss", self.points("valid_loss"), "yellow", marked=True),
        ]

    def last(self, name: str) -> float | None:
        points = self.points(name)
        return points[-1][1] if points else None

    def best(self) -> Point | None:
        """The step of the lowest validation loss."""
        return min(self.points("valid_loss"), key=lambda point: point[1], default=None)
