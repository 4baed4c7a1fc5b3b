"""Before a training starts: what it will be, whether it fits, and the reason with what would fit."""

from pathlib import Path
from typing import Any

import pytest

from core.catalog import sizes
from core.catalog.tokenizer import folder
from core.config import MODEL_FOLDER, Settings
from core.errors import Refused
from core.jobs.finetune import FinetuneSpec
from workers.finetune.environment import places
from workers.finetune.planning import DoesNotFit, planned
from workers.ranks import Host

REPORT: dict[str, Any] = {"train": {"rows": 400, "tokens": 16_000, "longest_row": 64}}
RILL = sizes.configuration(folder(str(MODEL_FOLDER)))


def spec(deepspeed: str = "auto", tuning: str = "lora", **hyper: Any) -> FinetuneSpec:
    given = {"training_file": "file_x", "deepspeed": deepspeed,
             "method": {"tuning": tuning, "hyperparameters": hyper}}  # fmt: skip
    return FinetuneSpec.model_validate(given)


def test_a_small_model_fits_and_is_reckoned_with() -> None:
    plan = planned(spec(), REPORT, RILL, 1)
    assert plan.estimate["parameters"] == 4_885_760
    assert 0 < plan.estimate["trained_parameters"] < 500_000
    assert plan.estimate["seconds"] > 0
    assert plan.estimate["memory_bytes"] > 4 * plan.estimate["parameters"]
    assert (plan.deepspeed, plan.world) == (None, 1)


def test_one_that_does_not_fit_is_refused_with_the_reason_and_what_would_fit() -> None:
    with pytest.raises(DoesNotFit) as refused:
        planned(spec(tuning="full"), REPORT, sizes.preset("30B"), 1)
    said = refused.value.message
    assert "GiB" in said
    assert "parameters" in said
    assert "What fits" in said or "smaller model" in said
    assert refused.value.code == "does_not_fit"


def test_ranks_get_equal_parts_or_the_batch_is_named() -> None:
    assert planned(spec(batch_size=8), REPORT, RILL, 2).settings.batch_size == 8
    assert planned(spec(), REPORT, RILL, 2).settings.batch_size % 2 == 0
    with pytest.raises(Refused, match="batch_size: 5 rows cannot be divided among 2 ranks; use 4"):
        planned(spec(batch_size=5), REPORT, RILL, 2)


def test_ranks_are_on_the_hosts_of_the_hostfile(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("here slots=2\nthere slots=4\n")
    given = Settings(_env_file=None, training_hostfile=str(file))
    assert places(given) == (6, [Host("here", 2), Host("there", 4)])
    assert places(Settings(_env_file=None, training_ranks=3)) == (3, [])
    file.write_text("here\n")
    with pytest.raises(Refused, match="PENSTOCK_TRAINING_HOSTFILE: hostfile line 1"):
        places(given)
    with pytest.raises(Refused, match=r"PENSTOCK_TRAINING_HOSTFILE: .*No such file"):
        places(Settings(_env_file=None, training_hostfile=str(tmp_path / "none")))


def test_a_preset_of_deepspeed_gets_the_jobs_batch() -> None:
    plan = planned(spec("zero3-offload-cpu", batch_size=16, micro_batch_size=2), REPORT, RILL, 2)
    assert plan.deepspeed is not None
    assert plan.deepspeed["train_batch_size"] == 16
    assert plan.deepspeed["gradient_accumulation_steps"] == 4
    assert plan.dtype == "bfloat16"


def test_a_preset_that_is_not_there_is_named() -> None:
    with pytest.raises(Refused, match="no DeepSpeed preset 'zero9'"):
        planned(spec("zero9"), REPORT, RILL, 1)
