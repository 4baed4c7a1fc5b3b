"""Logs and metrics of a process: set up once, spoken through structlog and prometheus_client."""

import logging
import sys

import structlog
from prometheus_client import Counter, Gauge, Histogram

from core.config import Settings

_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

HTTP_REQUESTS = Counter("penstock_http_requests_total", "Requests.", ("method", "route", "status"))
HTTP_SECONDS = Histogram(
    "penstock_http_seconds",
    "Time to the last byte, streams excepted.",
    ("route",),
    buckets=_LATENCY,
)
STREAMS = Gauge("penstock_sse_streams", "Open event streams of this process.")
RATE_LIMITED = Counter("penstock_rate_limited_total", "Refused by a limit.", ("of", "unit"))
RATE_UNCHECKED = Counter(
    "penstock_rate_unchecked_total", "Requests whose limits nobody could check: Redis was away."
)
JOBS_ACCEPTED = Counter("penstock_jobs_accepted_total", "Jobs answered with 202.", ("kind",))
JOBS_ENDED = Counter("penstock_jobs_ended_total", "Attempts that ended a job.", ("kind", "state"))
JOBS_REQUEUED = Counter("penstock_jobs_requeued_total", "Jobs given back.", ("kind", "reason"))
LEASES_LOST = Counter("penstock_leases_lost_total", "Attempts that lost their lease.", ("kind",))
QUEUE_WAIT = Histogram(
    "penstock_queue_wait_seconds", "Accepted to first claimed.", ("kind",), buckets=_LATENCY
)
FIRST_TOKEN = Histogram(
    "penstock_first_token_seconds", "Claimed to first token.", ("model",), buckets=_LATENCY
)
JOB_SECONDS = Histogram(
    "penstock_job_seconds", "Claimed to recorded.", ("kind", "state"), buckets=_LATENCY
)
TOKENS = Counter("penstock_tokens_total", "Tokens read and written.", ("model", "direction"))
CACHE_LOOKUPS = Counter(
    "penstock_cache_lookups_total", "Requests that allowed the cache.", ("mode", "outcome")
)
GUARD_HITS = Counter(
    "penstock_guard_hits_total", "Met in answers.", ("category", "group", "action")
)
GUARD_ROUTED = Counter(
    "penstock_guard_routed_total",
    "Sentences for a classifier: shown, spared, or unrouted: shown for want of a router.",
    ("outcome",),
)
GUARD_ALARMS = Counter(
    "penstock_guard_alarms_total", "Gaps between groups that were revealed.", ("category",)
)
RUNNING = Gauge("penstock_attempts_running", "Attempts running in this worker.")
QUEUE_DEPTH = Gauge("penstock_queue_depth", "Queued jobs, as control last counted.", ("queue",))
OUTBOX_AGE = Gauge("penstock_outbox_age_seconds", "Age of the oldest row when last relayed.")
RELAYED = Counter("penstock_outbox_relayed_total", "Outbox rows that Kafka acknowledged.")
RUNG = Counter("penstock_doorbells_total", "Jobs rung for through Celery.", ("queue",))


def setup(settings: Settings, *, process: str) -> None:
    """Structured logs to stderr, one line an event; library loggers join in."""

    def named(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        # Not a context variable: a worker's loop and Celery's threads have contexts of their own.
        return {**event, "process": process}

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        named,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_json
        else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    # Chatty at INFO, and they would log addresses with credentials at DEBUG.
    chatty = ("kafka", "celery", "httpx", "httpcore", "urllib3", "alembic.runtime.migration")
    for name in chatty:
        logging.getLogger(name).setLevel(logging.WARNING)
