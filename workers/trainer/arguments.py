"""A plan in the words of the transformers Trainer."""

import os
from typing import Any

import torch

from workers.trainer import sharding
from workers.trainer.faults import Unsupported
from workers.trainer.plan import Plan


def of(plan: Plan, *, validation: bool) -> dict[str, Any]:
    """For TrainingArguments, or those of a method that are made from them."""
    hyper = plan.hyper
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if hyper.batch_size % world:
        raise Unsupported(f"batch_size {hyper.batch_size} is no multiple of {world} ranks")
    mine = hyper.batch_size // world
    # What fits is at most `micro_batch`; a step takes the whole batch, so each part of it has the same size.
    micro = max(n for n in range(1, min(hyper.micro_batch, mine) + 1) if mine % n == 0)
    gpu = torch.cuda.is_available()
    if plan.precision == "float16" and not gpu:
        raise Unsupported("float16 needs a GPU; on a CPU train in bfloat16 or float32")
    return {
        "output_dir": str(plan.checkpoints),
        "use_cpu": not gpu,
        "ddp_backend": None if world == 1 else "nccl" if gpu else "gloo",
        "per_device_train_batch_size": micro,
        "per_device_eval_batch_size": micro,
        "gradient_accumulation_steps": mine // micro,
        "num_train_epochs": hyper.epochs,
        "max_steps": hyper.max_steps or -1,
        "learning_rate": hyper.learning_rate,
        "lr_scheduler_type": hyper.schedule,
        # Below 1 it is a share of all steps.
        "warmup_steps": hyper.warmup_ratio,
        "weight_decay": hyper.weight_decay,
        "max_grad_norm": hyper.max_grad_norm,
        "gradient_checkpointing": hyper.checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False} if hyper.checkpointing else None,
        "logging_steps": hyper.log_every,
        "logging_nan_inf_filter": False,
        "eval_strategy": "steps" if validation else "no",
        "eval_steps": hyper.eval_every if validation else None,
        "save_strategy": "steps",
        "save_steps": hyper.checkpoint_every,
        "seed": plan.seed,
        "bf16": plan.precision == "bfloat16",
        "fp16": plan.precision == "float16",
        "deepspeed": sharding.of(plan),
        "dataloader_pin_memory": gpu,
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "report_to": "none",
    }
