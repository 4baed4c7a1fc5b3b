"""A trainer without a model, `python -m tests.fakes.trainer plan.json`: it tells, saves, stops and goes on.

The loss of a step is a function of the seed and the step. What it should do besides stands in
PENSTOCK_SCRIPTED_DIR/trainer.json: {"step_s": 0.01, "await": {"7": "file"}, "die_at": 5, "nan_at": 4, "silent_at": 3,
"once": true}. With "once" it misbehaves only in its first process.
"""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file


def main() -> None:
    plan_path = Path(sys.argv[1])
    plan = json.loads(plan_path.read_text())
    folder = Path(os.environ["PENSTOCK_SCRIPTED_DIR"])
    script = _script(folder)
    with (folder / "trainer.log").open("a") as log:
        log.write(json.dumps({"pid": os.getpid(), "resume": plan["resume"]}) + "\n")
    tell({"type": "phase", "phase": "loading"})
    first, weights = _resumed(plan["resume"])
    tell({"type": "phase", "phase": "training"})
    total = plan["hyper"]["max_steps"]
    for step in range(first + 1, total + 1):
        _misbehave(script, step, folder)
        weights = weights + step
        _told(plan, step)
        stop = (plan_path.parent / "stop").exists()
        if step % plan["hyper"]["checkpoint_every"] == 0 or step == total or stop:
            _checkpoint(plan, step, weights)
        if stop and step < total:
            tell({"type": "stopped", "step": step})
            return
        time.sleep(script.get("step_s", 0.005))
    _done(plan, weights)


def _resumed(resume: str | None) -> tuple[int, Any]:
    if resume is None:
        return 0, np.zeros(4, np.float32)
    at = Path(resume)
    return int(at.name.removeprefix("step-")), load_file(at / "adapter_model.safetensors")["w"]


def _told(plan: dict[str, Any], step: int) -> None:
    hyper = plan["hyper"]
    share = {"total_steps": hyper["max_steps"], "epoch": step / hyper["max_steps"]}
    learned = {"loss": loss(plan["seed"], step), "learning_rate": hyper["learning_rate"]}
    tell({"type": "step", "step": step, "tokens": 100 * step, **share, **learned})


def _checkpoint(plan: dict[str, Any], step: int, weights: Any) -> None:
    folder = Path(plan["checkpoints"]) / f"step-{step:06d}"
    save(folder, weights)
    metrics = {"train_loss": loss(plan["seed"], step)}
    tell({"type": "checkpoint", "step": step, "path": str(folder), "metrics": metrics})


def _done(plan: dict[str, Any], weights: Any) -> None:
    out, total = Path(plan["out"]), plan["hyper"]["max_steps"]
    save(out, weights)
    (out / "manifest.json").unlink()
    about = {"base_model_name_or_path": plan["base_name"]}
    (out / "adapter_config.json").write_text(json.dumps(about))
    told = {"path": str(out), "tokens": 100 * total, "best_step": None, "metrics": {}}
    tell({"type": "done", "step": total, **told})


def loss(seed: int, step: int) -> float:
    """What every undisturbed run says of this step."""
    noise = int.from_bytes(hashlib.sha256(f"{seed} {step}".encode()).digest()[:2]) / 65536
    return round(3.0 / (1 + step / 10) + noise / 10, 6)


def save(folder: Path, weights: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"w": weights}, folder / "adapter_model.safetensors")
    raw = (folder / "adapter_model.safetensors").read_bytes()
    about = {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    (folder / "manifest.json").write_text(
        json.dumps({"files": {"adapter_model.safetensors": about}})
    )


def tell(event: dict[str, Any]) -> None:
    os.write(int(os.environ["PENSTOCK_EVENTS_FD"]), json.dumps(event).encode() + b"\n")


def _script(folder: Path) -> dict[str, Any]:
    path = folder / "trainer.json"
    script: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if script.get("once"):
        path.unlink()
    return script


def _misbehave(script: dict[str, Any], step: int, folder: Path) -> None:
    if step == script.get("die_at"):
        os.kill(os.getpid(), signal.SIGKILL)
    if step == script.get("nan_at"):
        tell(
            {
                "type": "failed",
                "code": "nan_loss",
                "message": f"The loss of step {step} is no number; lower learning_rate.",
            }
        )
        sys.exit(0)
    if step == script.get("silent_at"):
        time.sleep(600)
    if file := script.get("await", {}).get(str(step)):
        (folder / f"{file}.waiting").touch()
        while not (folder / file).exists():
            time.sleep(0.01)


if __name__ == "__main__":
    main()
