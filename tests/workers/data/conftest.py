"""One run of the pipeline on rows that a test writes, in this process: what it told, and what it made."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from core.catalog import tokenizer
from core.catalog.tokenizer import Text
from core.config import MODEL_FOLDER
from workers.data.__main__ import main


@dataclass
class Ran:
    """`events` in order; `out` is the folder that was filled."""

    events: list[dict[str, Any]]
    out: Path

    @property
    def last(self) -> dict[str, Any]:
        return self.events[-1]

    @property
    def report(self) -> dict[str, Any]:
        assert self.last["type"] == "done", self.last
        report: dict[str, Any] = self.last["report"]
        return report

    @property
    def problems(self) -> list[tuple[int, str, str]]:
        """(line, field, message)."""
        assert self.last["type"] == "failed", self.last
        return [(p["line"], p["field"], p["message"]) for p in self.last["problems"]]


Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`data`: rows, or a file's bytes; a keyword is a field of the plan. `before` gets the folder of the run."""

    def ran(
        data: Any = None,
        name: str = "train.jsonl",
        before: Callable[[Path], object] = lambda _: None,
        **plan: Any,
    ) -> Ran:
        folder = tmp_path / f"run{len(list(tmp_path.glob('run*')))}"
        folder.mkdir()
        if data is not None:
            plan["sources"] = [written(folder / name, data)]
        plan = {"tokenizer": str(MODEL_FOLDER), "seed": 7, "out": str(folder / "out")} | plan
        (folder / "plan.json").write_text(json.dumps(plan))
        before(folder)
        told = folder / "events.jsonl"
        descriptor = os.open(told, os.O_WRONLY | os.O_CREAT)
        monkeypatch.setenv("PENSTOCK_EVENTS_FD", str(descriptor))
        try:
            main(folder / "plan.json")
        finally:
            os.close(descriptor)
        events = [orjson.loads(line) for line in told.read_bytes().splitlines()]
        return Ran(events, folder / "out")

    return ran


def written(path: Path, data: Any) -> dict[str, str]:
    """A source with these rows, or these bytes."""
    if not isinstance(data, bytes):
        data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in data).encode()
    path.write_bytes(data)
    return {"path": str(path), "name": path.name}


def chat(ask: str, answer: str, **message: Any) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": ask},
            {"role": "assistant", "content": answer, **message},
        ]
    }


@pytest.fixture(scope="session")
def text() -> Text:
    return tokenizer.load(str(MODEL_FOLDER))
