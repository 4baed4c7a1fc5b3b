"""/v1/fine_tuning/jobs as OpenAI's own client sees it: the life of a job, its events, checkpoints and pages."""

import csv
import io
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from core.db.session import Database
from core.jobs.job import State
from core.openai.finetuning_answers import metrics_csv
from core.openai.finetuning_words import told
from tests import asking
from tests.api.openai.training import REPORT, Hand, begin, by_hand, upload
from tests.fakes.receiver import receiver
from tests.waiting import eventually

JOBS = "/v1/fine_tuning/jobs"


@pytest.fixture(autouse=True)
async def _by_hand(db: Database, key: str) -> None:
    await by_hand(db, key)


async def test_a_new_job_is_what_the_client_knows(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    file, valid = await upload(ai), await upload(ai)
    made = await begin(
        ai, training_file=file, validation_file=valid, suffix="mine", seed=7, metadata={"a": "b"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
    )  # fmt: skip
    assert made.id.startswith("ftjob-")
    assert (made.object, made.model, made.status) == ("fine_tuning.job", "rill", "validating_files")
    assert (made.training_file, made.validation_file, made.seed) == (file, valid, 7)
    assert (made.error, made.fine_tuned_model, made.finished_at) == (None, None, None)
    assert (made.estimated_finish, made.trained_tokens, made.result_files) == (None, None, [])
    assert made.hyperparameters.n_epochs == 2
    assert made.hyperparameters.batch_size == "auto"
    assert made.method is not None
    assert made.method.supervised is not None
    assert made.method.supervised.hyperparameters is not None
    assert made.method.supervised.hyperparameters.n_epochs == 2
    assert made.metadata == {"a": "b"}
    assert made.organization_id
    assert await ai.fine_tuning.jobs.retrieve(made.id) == made
    native = await asking.get(client, made.id.replace("ftjob-", "job_"))
    assert (native["kind"], native["state"], native["metadata"]) == (
        "finetune", "queued", {"a": "b"},
    )  # fmt: skip


async def test_the_life_of_a_job_that_succeeds(ai: AsyncOpenAI, db: Database) -> None:
    made = await begin(ai, suffix="mine")
    get = ai.fine_tuning.jobs.retrieve
    hand = await Hand.take(db, made.id)
    assert (await get(made.id)).status == "validating_files", "until its data are known to be good"
    await hand.train()
    runs = await get(made.id)
    assert runs.status == "running"
    assert runs.estimated_finish is not None
    assert runs.estimated_finish >= runs.created_at
    assert runs.hyperparameters.n_epochs == 3, "auto is told once it is chosen"
    assert runs.hyperparameters.learning_rate_multiplier == 1
    assert runs.seed == made.seed > 0, "one is chosen when none is sent"
    assert runs.fine_tuned_model is None
    sent = await ai.files.create(file=("m.csv", b"step\n"), purpose="fine-tune")
    await hand.succeed(files=[sent.id])
    done = await get(made.id)
    assert (done.status, done.trained_tokens, done.estimated_finish) == ("succeeded", 640, None)
    assert done.fine_tuned_model == f"ft:rill:t:mine:{made.id[-8:]}"
    assert done.finished_at is not None
    assert done.finished_at >= done.created_at
    assert done.result_files == [sent.id]
    assert done.method is not None
    assert done.method.supervised is not None
    hyper = done.method.supervised.hyperparameters
    assert hyper is not None
    chosen = {"lora_rank": 16, "micro_batch_size": 4, "max_length": 128, "packing": True}
    assert {name: hyper.to_dict()[name] for name in chosen} == chosen


async def test_events_are_newest_first_and_written_for_people(
    ai: AsyncOpenAI, db: Database
) -> None:
    made = await begin(ai)
    hand = await Hand.take(db, made.id)
    await hand.train()
    await hand.succeed()
    events = [event async for event in ai.fine_tuning.jobs.list_events(made.id, limit=3)]
    said = [event.message for event in events]
    assert said[0] == f"New fine-tuned model created: ft:rill:t:mine:{made.id[-8:]}"
    assert said[-3:] == [
        "Reading the training file",
        "A worker took the job",
        "Created fine-tuning job",
    ]
    assert "The files are valid: 19 of 20 examples, 640 tokens, 210 of them to learn" in said
    assert "Step 2/4: training loss 1, learning rate 0.001, 800 tokens/s, 20 s left" in said, said
    assert "Step 4: validation loss 0.625, token accuracy 75.0 %" in said
    assert len({event.id for event in events}) == len(events), "pages neither repeat nor lose any"
    assert [e.created_at for e in events] == sorted((e.created_at for e in events), reverse=True)
    metrics: Any = [event.data for event in events if event.type == "metrics"]
    assert [m["step"] for m in metrics] == [4, 4, 3, 2, 2, 1]
    assert (metrics[1]["train_loss"], metrics[0]["valid_loss"]) == (0.5, 0.625)
    whole = await ai.fine_tuning.jobs.list_events(made.id, limit=1000)
    assert [event.id for event in whole.data] == [event.id for event in events]
    assert not whole.has_more


async def test_checkpoints_come_latest_first(ai: AsyncOpenAI, db: Database) -> None:
    made = await begin(ai)
    hand = await Hand.take(db, made.id)
    await hand.train(6)
    listing = ai.fine_tuning.jobs.checkpoints.list
    found = [one async for one in listing(made.id, limit=2)]
    assert [one.step_number for one in found] == [6, 4, 2]
    first = found[0]
    assert (first.object, first.fine_tuning_job_id) == ("fine_tuning.job.checkpoint", made.id)
    assert first.metrics.step == 6
    assert first.metrics.valid_loss == first.metrics.full_valid_loss == pytest.approx(2.5 / 6)
    assert first.metrics.valid_mean_token_accuracy == 0.75
    assert first.metrics.train_mean_token_accuracy == 0.5
    with pytest.raises(openai.BadRequestError):
        await listing(made.id, after="ckpt_x")
    assert [one.fine_tuned_model_checkpoint for one in found] == [None] * 3
    await hand.succeed(best_step=4)
    best = {one.step_number: one.fine_tuned_model_checkpoint async for one in listing(made.id)}
    model = (await ai.fine_tuning.jobs.retrieve(made.id)).fine_tuned_model
    assert best == {6: None, 4: model, 2: None}


async def test_bad_rows_fail_the_job_with_their_lines(ai: AsyncOpenAI, db: Database) -> None:
    made = await begin(ai)
    hand = await Hand.take(db, made.id)
    await hand.tell(
        "problem",
        {"file": "train.jsonl", "line": 7, "field": "messages.1.role", "message": "must be a role"},
        {"file": "train.jsonl", "line": 9, "field": None, "message": "is not JSON"},
    )
    why = {"code": "invalid_training_file", "message": "train.jsonl line 7: messages.1.role must be a role",
           "param": "training_file"}  # fmt: skip
    await hand.end(State.FAILED, error=why)
    failed = await ai.fine_tuning.jobs.retrieve(made.id)
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.to_dict() == why
    events = (await ai.fine_tuning.jobs.list_events(made.id)).data
    assert [(e.level, e.message) for e in events[:3]] == [
        ("error", "The job failed: train.jsonl line 7: messages.1.role must be a role"),
        ("error", "train.jsonl line 9: is not JSON"),
        ("error", "train.jsonl line 7: messages.1.role must be a role"),
    ]


async def test_a_job_out_of_time_is_a_failed_one(ai: AsyncOpenAI) -> None:
    made = await begin(ai, extra_body={"completion_window": "1s"})

    async def over() -> Any:
        found = await ai.fine_tuning.jobs.retrieve(made.id)
        return found if found.status == "failed" else None

    found = await eventually(over, "expired")
    assert found.error.code == "expired"


async def test_pause_holds_a_job_and_resume_lets_it_go_on(
    ai: AsyncOpenAI, db: Database, client: httpx.AsyncClient
) -> None:
    jobs = ai.fine_tuning.jobs
    made = await begin(ai)
    waits = await jobs.pause(made.id)
    assert (waits.status, waits.to_dict()["paused"]) == ("queued", True)
    assert (await jobs.pause(made.id)).to_dict()["paused"], "twice is not an error"
    again = await jobs.resume(made.id)
    assert (again.status, again.to_dict()["paused"]) == ("validating_files", False)
    hand = await Hand.take(db, made.id)
    await hand.know(data=REPORT)
    asked = await jobs.pause(made.id)
    assert (asked.status, asked.to_dict()["paused"]) == ("running", False)
    assert asked.to_dict()["pausing"], "its worker saves first"
    await hand.give_back()
    held = await jobs.retrieve(made.id)
    assert (held.status, held.to_dict()["paused"]) == ("queued", True)
    assert (await jobs.resume(made.id)).status == "queued"
    cancelled = await jobs.cancel(made.id)
    assert cancelled.status == "cancelled"
    assert (await jobs.cancel(made.id)).status == "cancelled", "twice is not an error"
    for verb in ("pause", "resume"):
        late = await client.post(f"{JOBS}/{made.id}/{verb}")
        assert asking.error(late, 409)["code"] == "job_ended"
        assert late.headers["x-should-retry"] == "false"


async def test_a_running_job_is_asked_to_stop(ai: AsyncOpenAI, db: Database) -> None:
    made = await begin(ai)
    hand = await Hand.take(db, made.id)
    assert (await ai.fine_tuning.jobs.cancel(made.id)).status == "validating_files"
    await hand.end(State.CANCELLED)
    assert (await ai.fine_tuning.jobs.retrieve(made.id)).status == "cancelled"


async def test_an_old_client_sends_hyperparameters_at_the_top(ai: AsyncOpenAI) -> None:
    made = await begin(ai, hyperparameters={"n_epochs": 4, "batch_size": "auto"})
    assert made.hyperparameters.n_epochs == 4
    assert made.method is not None
    assert made.method.supervised is not None
    assert made.method.supervised.hyperparameters is not None
    assert made.method.supervised.hyperparameters.n_epochs == 4


async def test_preferences_and_our_own_settings(ai: AsyncOpenAI) -> None:
    more: Any = {"beta": 0.2, "tuning": "full", "lora_rank": 8, "packing": False, "max_length": 64}
    made = await begin(ai, method={"type": "dpo", "dpo": {"hyperparameters": more}})
    assert made.method is not None
    assert made.method.dpo is not None
    assert made.method.dpo.hyperparameters is not None
    shown = made.method.dpo.hyperparameters.to_dict()
    assert {name: shown[name] for name in more} == more


async def test_lists_go_by_pages_and_by_metadata(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    file = await upload(ai)
    labels: list[Any] = [{"who": "a", "n": "1"}, {"who": "a", "n": ""}, {"who": "b"}, None]
    made = [(await begin(ai, training_file=file, metadata=one)).id for one in labels]
    await asking.submit(client)
    every = [job.id async for job in ai.fine_tuning.jobs.list(limit=3)]
    assert every == made[::-1], "newest first, and no jobs of another kind"

    async def found(**wanted: str) -> list[str]:
        return [job.id async for job in ai.fine_tuning.jobs.list(limit=1, metadata=wanted)]

    assert await found(who="a") == [made[1], made[0]]
    assert await found(who="a", n="1") == [made[0]]
    assert await found(n="") == [made[1]]
    assert await found(who="c") == []
    bare = (await client.get(f"{JOBS}?metadata=null")).json()
    assert [job["id"] for job in bare["data"]] == [made[3]]
    for query in (
        "metadata=x", "metadata=null&metadata[a]=b", "metadata[a]=%00", "limit=0", "after=x", "x[a]=b",
    ):  # fmt: skip
        asking.error(await client.get(f"{JOBS}?{query}"), 400)


async def test_webhooks_tell_of_each_end(ai: AsyncOpenAI, db: Database) -> None:
    ends = {
        "fine_tuning.job.succeeded": State.SUCCEEDED,
        "fine_tuning.job.failed": State.FAILED,
        "fine_tuning.job.cancelled": State.CANCELLED,
    }
    async with receiver() as there:
        hook = await ai.webhooks.create(name="n", url=there.url, event_types=list(ends))  # type: ignore[arg-type]  # a list of these names
        file, expected = await upload(ai), {}
        for name, state in ends.items():
            made = await begin(ai, training_file=file)
            expected[name] = made.id
            hand = await Hand.take(db, made.id)
            error = {"code": "c", "message": "m"} if state is State.FAILED else None
            await hand.end(state, {"model": "ft:x"} if error is None else None, error)

        async def all_told() -> bool:
            return len(there.requests) >= len(ends)

        await eventually(all_told, "three webhooks")
        told = {}
        for one in there.requests:
            event: Any = ai.webhooks.unwrap(one.body, one.headers, secret=hook.signing_secret)
            told[event.type] = event.data.id
    assert told == expected


def test_the_results_file_has_a_line_a_step() -> None:
    made = metrics_csv(
        [
            {
                "step": 1,
                "total_steps": 2,
                "loss": 2.0,
                "learning_rate": 0.1,
                "grad_norm": float("nan"),
            },
            {"step": 2, "loss": 1.0, "tokens": 20},
            {"step": 2, "valid_loss": 1.5, "valid_token_accuracy": 0.25},
        ]
    )
    rows = list(csv.DictReader(io.StringIO(made.decode())))
    assert list(rows[0])[:5] == [
        "step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy",
    ]  # fmt: skip
    assert [(r["step"], r["train_loss"], r["valid_loss"]) for r in rows] == [
        ("1", "2.0", ""), ("2", "1.0", "1.5"),
    ]  # fmt: skip
    assert (rows[0]["grad_norm"], rows[1]["tokens"]) == ("", "20")


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("job.requeued", {"reason": "worker_lost"}, ("warn", "its last checkpoint")),
        ("job.paused", {}, ("info", "Paused")),
        ("job.expired", {}, ("error", "completion_window")),
        ("progress", {"phase": "compiling"}, ("info", "DeepSpeed")),
        ("progress", {"estimate": {"memory_bytes": 2**30, "seconds": 90}}, ("info", "1.00 GiB of memory")),
        ("progress", {"estimate": {"seconds": 90}}, ("info", "about 1 min 30 s")),
        ("checkpoint", {"step": 20}, ("info", "Checkpoint saved at step 20")),
        ("metrics", {"step": 3, "loss": 1.23456}, ("info", "Step 3: training loss 1.235")),
        ("something", {"a": 1}, ("info", "something: a 1")),
    ],
)  # fmt: skip
def test_events_read_as_sentences(kind: str, data: dict[str, Any], said: tuple[str, str]) -> None:
    level, message = told(kind, data)
    assert level == said[0]
    assert said[1] in message
