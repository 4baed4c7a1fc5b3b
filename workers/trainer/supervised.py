"""Supervised training: the next token, of those that are to be learned."""

from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import TrainingArguments

from workers.trainer import arguments, data, models
from workers.trainer.collate import IGNORED, Collator
from workers.trainer.data import Order
from workers.trainer.kept import Kept
from workers.trainer.plan import Plan
from workers.trainer.stopping import Stop
from workers.trainer.telling import Voice


class Supervised(Kept):
    """Batches are of workers/trainer/collate.py. B rows, L tokens, V words."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:  # fmt: skip
        inputs = {**inputs, "use_cache": False}
        sizes_B = inputs.pop("sizes")
        loss, outputs = super().compute_loss(
            model, inputs, return_outputs=True, num_items_in_batch=num_items_in_batch
        )
        self.read += sizes_B.sum()
        right_BL, learned_BL = _right(outputs.logits.detach(), inputs["labels"])
        self.right += right_BL.sum()
        self.learned += learned_BL.sum()
        return (loss, outputs) if return_outputs else loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Mean loss and accuracy over the learned tokens of the validation rows, each row once."""
        model = self.model_wrapped
        model.eval()
        totals = torch.zeros(3, dtype=torch.double)
        for inputs in self.get_eval_dataloader():
            self.voice.alive()
            labels_BL = inputs.pop("labels")
            inputs.pop("sizes")
            with torch.no_grad(), self.compute_loss_context_manager():
                logits_BLV = model(**inputs, use_cache=False).logits
            losses_BL = cross_entropy(
                logits_BLV[:, :-1].float().transpose(1, 2), labels_BL[:, 1:], reduction="none"
            )
            right_BL, learned_BL = _right(logits_BLV, labels_BL)
            sums_B3 = torch.stack([losses_BL.sum(1), right_BL.sum(1), learned_BL.sum(1)], dim=1)
            totals += self.accelerator.gather_for_metrics(sums_B3).double().sum(0).cpu()
        loss, right, learned = totals.tolist()
        self.validated(loss / max(learned, 1), right / max(learned, 1))
        return {"eval_loss": loss / max(learned, 1)}


def _right(logits_BLV: torch.Tensor, labels_BL: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Which labels the likeliest word is, and which positions have one."""
    aims_BL = labels_BL[:, 1:]
    learned_BL = aims_BL != IGNORED
    return (logits_BLV[:, :-1].argmax(-1) == aims_BL) & learned_BL, learned_BL


def make(plan: Plan, voice: Voice, stop: Stop) -> Kept:
    train = data.rows(plan.data / "train")
    assert train is not None, "workers.data refuses what has no rows"
    validation = data.rows(plan.data / "validation")
    args = TrainingArguments(**arguments.of(plan, validation=validation is not None))
    # After the arguments: with ZeRO-3 the weights are loaded in pieces.
    model = models.load(plan)
    packed = data.packed(train) or (validation is not None and data.packed(validation))
    sizes = None if packed else data.lengths(train, ("input_ids",))
    return Supervised(
        model=model,
        args=args,
        data_collator=Collator(models.pad_id(model), packed),
        train_dataset=train,
        eval_dataset=validation,
        plan=plan,
        voice=voice,
        order=Order(len(train), plan.seed, plan.hyper.batch_size, sizes),
        stop=stop,
    )
