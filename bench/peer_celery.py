"""The peer that promises nothing: Celery's no-op tasks on the same Redis, with our own settings of Celery.

Two roles: `worker` runs them in 16 threads and counts them in Redis; `send` enqueues them.
"""

import json
import sys
import time
from typing import Any

import redis
from celery import Celery
from kombu import Exchange, Queue

from core.config import Settings
from workers import app

QUEUE = "bench.noop"
COUNT = "bench:noop:done"


def plain(options: dict[str, Any]) -> Celery:
    """Our settings, but none of our task and queue: theirs skip what a plain user pays for, acknowledging."""
    return app.make(Settings(_env_file=None, redis_url=options["redis"]))


def queue() -> Queue:
    return Queue(QUEUE, Exchange(QUEUE, type="direct"), routing_key=QUEUE)


def worker(options: dict[str, Any]) -> None:
    counter = redis.Redis.from_url(options["redis"])
    celery = plain(options)
    celery.conf.task_queues = [queue()]

    @celery.task(name=app.TASK)  # type: ignore[untyped-decorator, unused-ignore]
    def noop(_: str) -> None:
        counter.incr(COUNT)

    print("READY", flush=True)
    celery.worker_main(
        ["--quiet", "worker", "--pool=threads", f"--concurrency={options['slots']}",
         "--without-gossip", "--without-mingle", "--without-heartbeat", f"--queues={QUEUE}",
         "--loglevel=ERROR"]
    )  # fmt: skip


def send(options: dict[str, Any]) -> None:
    """Prints when it began, and what CPU it took."""
    celery = plain(options)
    with celery.producer_pool.acquire(block=True) as producer:
        began, cpu = time.time(), time.process_time()
        for number in range(options["count"]):
            celery.send_task(
                app.TASK, (str(number),), queue=queue(), producer=producer, retry=False,
                ignore_result=True,
            )  # fmt: skip
    print(json.dumps({"began": began, "cpu": time.process_time() - cpu}))


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    {"worker": worker, "send": send}[settings["role"]](settings)
