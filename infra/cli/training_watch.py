"""Follow a fine-tuning job to its end: its curves on a terminal, else one line an event."""

import json
import sys
import time
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from infra.cli.plot import chart
from infra.cli.remote import Remote
from infra.cli.training import Training

# A step takes a second or more; who watches sees it so much later at most.
LOOK_S = 1.0
_HEIGHT = 16
_STYLES = {
    "succeeded": "bold green",
    "failed": "bold red",
    "cancelled": "bold red",
    "paused": "bold yellow",
}
_LEVELS = {"error": "red", "warn": "yellow"}


def watch(remote: Remote, training: Training, *, as_json: bool) -> Training:
    """Show it until it has ended. `as_json`: one event a line, as the API gives them."""
    if not as_json and sys.stdout.isatty():
        _on_a_terminal(remote, training)
        return training
    while True:
        for event in training.read(remote):
            sys.stdout.write((json.dumps(event) if as_json else line(event)) + "\n")
        sys.stdout.flush()
        if training.ended:
            return training
        time.sleep(LOOK_S)


def line(event: dict[str, Any]) -> str:
    """`14:02:11  Step 20/60: training loss 1.23`."""
    at = datetime.fromtimestamp(event["created_at"]).astimezone().strftime("%H:%M:%S")
    level = "" if event["level"] == "info" else f"{event['level']}: "
    return f"{at}  {level}{event['message']}"


def _on_a_terminal(remote: Remote, training: Training) -> None:
    """What is worth keeping scrolls by; steps only move the curves, which stay at the end."""
    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            for event in training.read(remote):
                if event["type"] != "metrics":
                    console.print(Text(line(event), style=_LEVELS.get(event["level"], "")))
            live.update(picture(training, console.width), refresh=True)
            if training.ended:
                return
            time.sleep(LOOK_S)


def picture(training: Training, width: int) -> RenderableType:
    """The curves and the line below them."""
    curves = chart(training.curves(), min(width, 110), _HEIGHT)
    return Group(*([curves] if curves else []), standing(training))


def standing(training: Training) -> Text:
    """running · step 20/60 · training loss 1.23 · 812 tokens/s · 1 min 20 s left · 0.61 GiB."""
    job, state = training.job, training.state
    parts = [Text(state, style=_STYLES.get(state, "bold cyan"))]
    if points := training.points("train_loss"):
        of = training.last("total_steps")
        parts.append(Text(f"step {points[-1][0]:.0f}" + (f"/{of:.0f}" if of else "")))
    if not training.ended:
        speed, left = training.last("tokens_per_s"), training.last("eta_s")
        if speed:
            parts.append(Text(f"{speed:,.0f} tokens/s"))
        if left:
            parts.append(Text(f"{_clock(left)} left", style="bold"))
    memory = training.last("memory_bytes")
    if memory:
        parts.append(Text(f"{memory / 2**30:.2f} GiB"))
    if (best := training.best()) is not None:
        parts.append(Text(f"best validation loss {best[1]:.4g} at step {best[0]:.0f}"))
    if job.get("fine_tuned_model"):
        parts.append(Text(job["fine_tuned_model"], style="bold"))
    if job.get("error"):
        parts.append(Text(job["error"]["message"], style="red"))
    return Text(" · ").join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
