"""The first job's show: what it prints, and that it says so when the job does not come through."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from infra import demo
from infra.folder import free_port

EVENTS = [
    {"seq": 1, "type": "job.queued", "data": {}},
    {"seq": 2, "type": "output.delta", "data": {"text": ", far"}},
    {"seq": 3, "type": "output.delta", "data": {"text": " away."}},
    {"seq": 4, "type": "job.succeeded", "data": {}},
]


class Api(BaseHTTPRequestHandler):
    """Accepts the key `good`; streams EVENTS with a keep-alive comment between."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Authorization"] == "Bearer good":
            self._answer(202, json.dumps({"id": "job_1"}))
        else:
            self._answer(401, "no such key")

    def do_GET(self) -> None:
        lines = [
            f"id: {e['seq']}\nevent: {e['type']}\ndata: {json.dumps(e)}\n\n: ping\n\n"
            for e in EVENTS
        ]
        self._answer(200, "".join(lines))

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Api) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_tokens_and_the_next_steps_are_printed(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    demo.show(url, "good", "rill")
    out = capsys.readouterr().out
    assert f"{demo.PROMPT}, far away.\n\njob.succeeded" in out
    for step in (f"{url}/v1/jobs ", "/stream", "/v1/webhook_endpoints", "good"):
        assert step in out


def test_a_refused_job_is_told(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    demo.show(url, "bad", "rill")
    out = capsys.readouterr().out
    assert "did not come through: POST /v1/jobs answered 401: no such key" in out
    assert "Try next" in out


def test_an_api_that_is_away_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    demo.show(f"http://127.0.0.1:{free_port()}", "good", "rill")
    assert "did not come through" in capsys.readouterr().out
