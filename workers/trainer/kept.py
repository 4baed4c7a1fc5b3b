"""The transformers Trainer with our checkpoints, our events, and an end at the first number that is none.

training_step --every micro batch--> alive
optimizer step --finite?--> log: step --> evaluate: eval --> _save_checkpoint: checkpoint
"""

import math
import resource
import time
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from workers.trainer import checkpoints, models, progress
from workers.trainer.data import Order
from workers.trainer.faults import NotFinite
from workers.trainer.plan import Plan
from workers.trainer.progress import Progress, Unlogged
from workers.trainer.telling import Voice


class Kept(Trainer):  # type: ignore[misc]  # transformers is not followed
    """Mixed into the Trainer of a method. `stop` says whether somebody asked for an end."""

    def __init__(
        self, *args: Any, plan: Plan, voice: Voice, order: Order, stop: Any, **kwargs: Any
    ):
        super().__init__(*args, **kwargs)
        self.plan, self.voice, self.order, self.stop = plan, voice, order, stop
        self.progress = Progress()
        self.saved_step = self._validated_step = -1
        # Of this run, on the device: read where a log or a checkpoint waits for the device anyway.
        self.read = torch.zeros((), dtype=torch.long, device=self.args.device)
        self.right = torch.zeros((), dtype=torch.long, device=self.args.device)
        self.learned = torch.zeros((), dtype=torch.long, device=self.args.device)
        self._before = self._told_tokens = 0
        self._clock = Clock()
        self.add_callback(Watch(self))

    # --- the order of the data

    def _get_train_sampler(self, _dataset: Any = None) -> Order:
        return self.order

    # --- what a step tells

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.voice.alive()
        return super().training_step(*args, **kwargs)  # type: ignore[no-any-return, unused-ignore]

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        # A float16 step whose gradients overflowed is left out by the loss scaler; that is no fault.
        if norm is not None and self.plan.precision != "float16" and not math.isfinite(float(norm)):
            step = self.state.global_step + 1
            raise NotFinite(f"The gradient of step {step} is not finite")
        return norm

    def log(self, logs: dict[str, float], _start_time: float | None = None) -> None:
        """Trainer's log after `log_every` steps; its summary at the end has no loss and is not told."""
        if "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise NotFinite(f"The loss of step {self.state.global_step} is {logs['loss']}")
        tokens = self._tokens()
        made, self._told_tokens = tokens - self._told_tokens, tokens
        accuracy, extra = self.measured()
        self.progress.tokens, self.progress.train_loss = tokens, logs["loss"]
        self.progress.train_token_accuracy = accuracy
        speed, eta_s = self._clock.logged(made, self.state.global_step, self.state.max_steps)
        self.voice.tell(
            "step",
            step=self.state.global_step,
            total_steps=self.state.max_steps,
            epoch=self.state.epoch,
            loss=logs["loss"],
            learning_rate=logs["learning_rate"],
            grad_norm=float(norm) if (norm := logs.get("grad_norm")) is not None else None,
            tokens=tokens,
            tokens_per_s=speed,
            memory_bytes=memory_bytes(),
            eta_s=eta_s,
            token_accuracy=accuracy,
            **({"extra": extra} if extra else {}),
        )

    def measured(self) -> tuple[float | None, dict[str, float]]:
        """Token accuracy, and what only this method measures, since the last log."""
        right, learned = self._sum(torch.stack([self.right, self.learned])).tolist()
        self.right.zero_()
        self.learned.zero_()
        return right / learned if learned else None, {}

    def _tokens(self) -> int:
        """Read since the very first step, by all ranks."""
        return self._before + int(self._sum(self.read[None]))

    def _sum(self, mine: torch.Tensor) -> torch.Tensor:
        """Of a vector, over the ranks; each of them has to come here."""
        summed: torch.Tensor = self.accelerator.gather(mine[None]).sum(0)
        return summed

    # --- validation

    def _evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        # Trainer comes here once more at the end of the epoch that a step has just ended.
        if self._validated_step == self.state.global_step:
            return {}
        self._validated_step = self.state.global_step
        return super()._evaluate(*args, **kwargs)  # type: ignore[no-any-return, misc, unused-ignore]

    def validated(self, loss: float, accuracy: float | None, **extra: Any) -> None:
        step = self.state.global_step
        if not math.isfinite(loss):
            raise NotFinite(f"The validation loss at step {step} is {loss}")
        early = self.plan.hyper.early_stopping
        best = self.progress.validated(step, loss, accuracy, early)
        self.voice.tell("eval", step=step, loss=loss, token_accuracy=accuracy, best=best, **extra)
        # The best weights are wanted at the end, whether a checkpoint is due or not.
        self.control.should_save |= best
        if self.early:
            self.control.should_training_stop = self.control.should_save = True
        self._clock.rest()

    # --- checkpoints

    def resume(self, folder: Path | None) -> None:
        """Train to the end, or until somebody asks to stop; from a checkpoint, that is verified before."""
        if folder:
            self.progress = progress.load(folder)
            self._before = self._told_tokens = self.progress.tokens
            self.saved_step = checkpoints.step_of(folder)
            best = self.progress.best_step
            if best is not None and best not in checkpoints.steps(self.plan.checkpoints):
                # On another host perhaps: then what comes is measured against nothing.
                self.progress.best_step = self.progress.best_loss = None
            reached = TrainerState.load_from_json(str(folder / TRAINER_STATE_NAME))
            if self._over(reached):
                # Killed between the last checkpoint and the last word; Trainer would train a step too many.
                self.state = reached
                return
        self.train(resume_from_checkpoint=str(folder) if folder else None)

    def _over(self, reached: TrainerState) -> bool:
        return reached.global_step >= (self.plan.hyper.max_steps or reached.max_steps) or self.early

    @property
    def early(self) -> bool:
        """Whether validation has not become better for as long as the plan has patience."""
        early = self.plan.hyper.early_stopping
        return early is not None and self.progress.waited >= early.patience

    def _save_checkpoint(self, _model: Any, _trial: Any) -> None:
        step = self.state.global_step
        if step == self.saved_step:
            return
        root = self.plan.checkpoints
        if self.args.should_save:
            checkpoints.begin(root, step)
        self.accelerator.wait_for_everyone()
        new = root / f".{checkpoints.name(step)}.new"
        self.save_model(str(new), _internal_call=True)
        self._save_optimizer_and_scheduler(str(new))
        self._save_scaler(str(new))
        self._save_rng_state(str(new))
        self.progress.tokens = self._tokens()
        self._put_aside()
        if self.args.should_save:
            self.state.save_to_json(str(new / TRAINER_STATE_NAME))
            progress.save(self.progress, new)
        self.accelerator.wait_for_everyone()
        self.saved_step = step
        if self.args.should_save:
            models.tidy(new, self.plan)
            final = checkpoints.complete(new)
            checkpoints.prune(root, self.progress.best_step)
            self.voice.tell(
                "checkpoint",
                step=step,
                path=str(final),
                metrics=self.progress.metrics(),
                best_step=self.progress.best_step,
            )
        self.accelerator.wait_for_everyone()
        self._clock.rest()

    def _put_aside(self) -> None:
        """What the next log says of steps before this checkpoint, for a run that resumes here."""
        loss = self.accelerator.gather(self._tr_loss.reshape(1)).mean()
        right, learned = self._sum(torch.stack([self.right, self.learned])).tolist()
        self.progress.unlogged = Unlogged(self._globalstep_last_logged, float(loss), right, learned)

    def take_up(self) -> None:
        """The other end of `_put_aside`, once Trainer has begun to count anew."""
        if unlogged := self.progress.unlogged:
            self._globalstep_last_logged = unlogged.step
            self._tr_loss.fill_(unlogged.loss)
            if self.is_world_process_zero():
                # Sums over ranks; the others begin at nothing.
                self.right.fill_(unlogged.right)
                self.learned.fill_(unlogged.learned)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Weights in safetensors, and none of the pickles that Trainer puts beside them."""
        assert output_dir is not None
        saved = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        # Of adapters only the trained one: preference training has its first values beside it.
        only = {"selected_adapters": ["default"]} if self.plan.tuning == "lora" else {}
        saved.save_pretrained(output_dir, state_dict=state_dict, **only)


class Watch(TrainerCallback):  # type: ignore[misc]
    """Between steps: does anybody want us to stop?"""

    def __init__(self, trainer: Kept) -> None:
        self.trainer = trainer

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.trainer.take_up()

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        # Trainer's own call does not reach the sampler through all wrappers of a resumed, sharded loader.
        self.trainer.order.set_epoch(int(self.trainer.state.epoch or 0))

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if self.trainer.stop.wanted(self.trainer.args.device):
            self.trainer.control.should_save = self.trainer.control.should_training_stop = True


class Clock:
    """Tokens a second of the last logging interval, and the time to the end; saving and validation left out."""

    def __init__(self) -> None:
        self._since = time.perf_counter()
        self._spent = 0.0
        self._total = 0.0
        self._first: int | None = None

    def rest(self) -> None:
        """What passed since the last log or rest was no training."""
        self._since = time.perf_counter()

    def logged(self, tokens: int, step: int, steps: int) -> tuple[float, float]:
        now = time.perf_counter()
        took, self._since = now - self._since, now
        if self._first is None:
            # The first interval warms up: an estimate from it alone, until there is another.
            self._first = step
            return tokens / took, took / max(step, 1) * (steps - step)
        self._total += took
        return tokens / took, self._total / (step - self._first) * (steps - step)


def memory_bytes() -> int:
    """The most that this rank has used so far: of its GPU where it has one, else of the host."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
