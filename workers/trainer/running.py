"""One run from its plan to its last word."""

import importlib
import traceback

from transformers import PrinterCallback

from workers.trainer import checkpoints, faults, models, sharding
from workers.trainer.kept import Kept
from workers.trainer.plan import Plan
from workers.trainer.stopping import Stop
from workers.trainer.telling import Voice

METHODS = {"supervised": "workers.trainer.supervised", "dpo": "workers.trainer.preference"}


def run(plan: Plan, voice: Voice, stop: Stop) -> None:
    """Tells how it ended; raises what is nobody's fault that we know of, so that another attempt is made."""
    try:
        _train(plan, voice, stop)
    except Exception as error:
        fault = faults.of(error, plan)
        if fault is None:
            raise
        traceback.print_exc()
        voice.failed(
            fault.code, fault.message, **({"setting": fault.setting} if fault.setting else {})
        )
        raise SystemExit(1) from None


def _train(plan: Plan, voice: Voice, stop: Stop) -> None:
    plan.checkpoints.mkdir(parents=True, exist_ok=True)
    if plan.resume:
        # Before anything of it is read. Every rank for itself: on another host it is another copy.
        checkpoints.verify(plan.resume)
    if plan.deepspeed:
        voice.phase("compiling")
        sharding.begin(plan.deepspeed)
        voice.phase("loading")
    trainer: Kept = importlib.import_module(METHODS[plan.method]).make(plan, voice, stop)
    trainer.pop_callback(PrinterCallback)
    if stop.wanted(trainer.args.device):
        voice.tell("stopped", step=checkpoints.step_of(plan.resume) if plan.resume else 0)
        return
    voice.phase("training")
    trainer.resume(plan.resume)
    state, reached = trainer.state, trainer.progress
    if state.global_step < state.max_steps and not trainer.early:
        voice.tell("stopped", step=state.global_step)
        return
    voice.phase("saving")
    best = reached.best_step if reached.best_step is not None else state.global_step
    if trainer.args.should_save:
        models.hand_over(plan.checkpoints / checkpoints.name(best), plan)
    metrics = reached.metrics()
    if reached.best_loss is not None:
        metrics["best_valid_loss"] = reached.best_loss
    voice.tell(
        "done",
        step=state.global_step,
        path=str(plan.out),
        best_step=best,
        tokens=reached.tokens,
        metrics=metrics,
        stopped_early=trainer.early and state.global_step < state.max_steps,
    )
