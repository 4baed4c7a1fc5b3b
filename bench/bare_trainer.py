"""The peer of figure 9: transformers' Trainer with PEFT as its documentation has it, in a process of its own."""

import json
import resource
import sys
import time
from typing import Any

import torch
from datasets import load_from_disk
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Packed rows of one length; positions start anew at each document."""
    ids = torch.tensor([row["input_ids"] for row in rows])
    positions = [torch.cat([torch.arange(n) for n in row["segments"]]) for row in rows]
    labels = ids.masked_fill(torch.stack(positions) == 0, -100)
    return {"input_ids": ids, "labels": labels, "position_ids": torch.stack(positions)}


class Heard(TrainerCallback):  # type: ignore[misc]  # transformers is not followed
    def __init__(self) -> None:
        self.at: dict[int, float] = {}

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002 - transformers' names
        self.at.setdefault(state.global_step, time.perf_counter())


def main() -> None:
    options = json.loads(sys.argv[1])
    hyper = options["hyper"]
    model: Any = AutoModelForCausalLM.from_pretrained(options["model"], dtype=torch.float32)
    model.config.use_cache = False
    if options["tuning"] == "lora":
        lora = LoraConfig(
            task_type="CAUSAL_LM", r=hyper["lora_rank"], lora_alpha=hyper["lora_alpha"],
            lora_dropout=hyper["lora_dropout"], target_modules="all-linear",
        )  # fmt: skip
        model = get_peft_model(model, lora)
    heard = Heard()
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=options["folder"], use_cpu=not torch.cuda.is_available(), max_steps=hyper["max_steps"],
            per_device_train_batch_size=hyper["micro_batch"],
            gradient_accumulation_steps=hyper["batch_size"] // hyper["micro_batch"],
            learning_rate=hyper["learning_rate"], lr_scheduler_type=hyper["schedule"],
            max_grad_norm=hyper["max_grad_norm"], logging_steps=hyper["log_every"], save_strategy="no", seed=7,
            remove_unused_columns=False, disable_tqdm=True, report_to="none",
            dataloader_pin_memory=torch.cuda.is_available(),
        ),
        data_collator=collate,
        train_dataset=load_from_disk(options["data"] + "/train"),
        callbacks=[heard],
    )  # fmt: skip
    trainer.train()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated()
    print(json.dumps({"heard": heard.at, "bytes": peak}))


if __name__ == "__main__":
    main()
