"""Direct preference optimisation: of two answers to a prompt, the chosen one becomes likelier than before."""

from typing import Any

from transformers import AutoTokenizer
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DataCollatorForPreference, DPOTrainer

from workers.trainer import arguments, data, models
from workers.trainer.data import Order
from workers.trainer.faults import Unsupported
from workers.trainer.kept import Kept
from workers.trainer.plan import Plan
from workers.trainer.stopping import Stop
from workers.trainer.telling import Voice

COLUMNS = ("prompt_ids", "chosen_ids", "rejected_ids")


class Preference(Kept, DPOTrainer):  # type: ignore[misc, unused-ignore]
    """Measured against the model as it was at the start: the adapter's first values, or a frozen copy."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        # Tokenised by workers.data, which has the one template of ours.
        return dataset

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if model.training:
            self.read += inputs["attention_mask"].sum()
        return super().compute_loss(model, inputs, *args, **kwargs)

    def prediction_step(self, *args: Any, **kwargs: Any) -> Any:
        self.voice.alive()
        return super().prediction_step(*args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        found: dict[str, float] = super().evaluate(*args, **kwargs)
        metrics = self._means("eval")
        self.validated(found["eval_loss"], metrics.pop("mean_token_accuracy", None), extra=metrics)
        return found

    def measured(self) -> tuple[float | None, dict[str, float]]:
        metrics = self._means("train")
        return metrics.pop("mean_token_accuracy", None), metrics

    def _means(self, mode: str) -> dict[str, float]:
        kept: dict[str, list[float]] = self._metrics[mode]
        means = {name: sum(values) / len(values) for name, values in kept.items() if values}
        kept.clear()
        # Ours counts the ranks and the steps before a resume, too.
        means.pop("num_tokens", None)
        return means


def make(plan: Plan, voice: Voice, stop: Stop) -> Kept:
    train = data.rows(plan.data / "train")
    assert train is not None, "workers.data refuses what has no rows"
    validation = data.rows(plan.data / "validation")
    settings = arguments.of(plan, validation=validation is not None)
    args = DPOConfig(**settings, beta=plan.hyper.beta, max_length=None)
    model = models.load(plan)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(plan.model), local_files_only=True)
    except (ValueError, OSError) as error:
        raise Unsupported(f"{plan.base_name} has no tokenizer that can be read: {error}") from error
    sizes = data.lengths(train, COLUMNS)
    return Preference(
        model=model,
        args=args,
        processing_class=tokenizer,
        data_collator=DataCollatorForPreference(pad_token_id=models.pad_id(model)),
        train_dataset=train,
        eval_dataset=validation,
        plan=plan,
        voice=voice,
        order=Order(len(train), plan.seed, plan.hyper.batch_size, sizes),
        stop=stop,
    )
