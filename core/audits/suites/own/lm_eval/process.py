"""lm-eval in a process of its own: started for one fitted suite, ended with it."""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import weakref
from typing import Any

from core.errors import InvalidInput, Refused

# To import lm-eval, read a task's data and build its prompts.
LOAD_S = 300.0
# To filter and score one document: an uploaded task's own expressions run then.
SCORE_S = 20.0
# Of our environment, what lm-eval may see: no keys, no addresses of databases.
_PASSED = (
    "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "HF_HOME", "HF_DATASETS_CACHE", "NLTK_DATA",
)  # fmt: skip
# Nothing is fetched: what is not on this host is not there.
_OFFLINE = dict.fromkeys(
    ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE", "TRANSFORMERS_OFFLINE"), "1"
)


def installed() -> bool:
    return importlib.util.find_spec("lm_eval") is not None


class LmEval:
    """A conversation with it: one question and one answer at a time, from any thread."""

    def __init__(self) -> None:
        if not installed():
            raise InvalidInput(
                "suites: lm-eval is not installed on this host; install it: pip install 'penstock[audits]'",
                param="suites",
            )
        self._turn = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="penstock-lm-eval-")
        theirs, ours = os.pipe()
        environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-W", "ignore", "-m", "core.audits.suites.own.lm_eval", str(ours)],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(ours,),
                env=environment | _OFFLINE | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )  # fmt: skip
        finally:
            os.close(ours)
        self._replies = os.fdopen(theirs, "rb")
        self._end = weakref.finalize(self, _ended, self._process, self._replies, self._folder)

    @property
    def folder(self) -> str:
        """For what it keeps of uploaded data."""
        return self._folder.name

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        self._end()

    def ask(self, message: dict[str, Any], *, within_s: float) -> Any:
        """Raises InvalidInput with lm-eval's words, or when it takes longer; Refused when it has ended."""
        with self._turn:
            late = threading.Event()
            guard = threading.Timer(within_s, _stopped, (self._process, late))
            guard.start()
            try:
                reply = self._told(message)
            finally:
                guard.cancel()
        if late.is_set():
            raise InvalidInput(
                f"lm-eval: took over {within_s:g} s; ask for a smaller task, or simpler filters",
                param="suites",
            )
        if reply is None:
            raise Refused(
                "lm-eval's process has ended; its task may need more memory than it is given"
            )
        if "wrong" in reply:
            raise InvalidInput(f"lm-eval: {reply['wrong']}", param="suites")
        return reply["ok"]

    def _told(self, message: dict[str, Any]) -> dict[str, Any] | None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            return None
        line = self._replies.readline()
        reply: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
        return reply


def _stopped(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    process.kill()


def _ended(process: subprocess.Popen[bytes], replies: Any, folder: Any) -> None:
    process.kill()
    process.wait()
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    replies.close()
    folder.cleanup()
