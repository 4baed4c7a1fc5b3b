"""The families of records: files, uploads, batches, webhooks, models; all of their types is what we have."""

from openai.types import (
    Batch,
    BatchCreateParams,
    FileCreateParams,
    FileDeleted,
    FileListParams,
    FileObject,
    Model,
    Upload,
    UploadCompleteParams,
    UploadCreateParams,
    batch_list_params,
)
from openai.types.fine_tuning import (
    FineTuningJob,
    FineTuningJobEvent,
    job_create_params,
    job_list_events_params,
    job_list_params,
)
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint, checkpoint_list_params
from openai.types.uploads import PartCreateParams, UploadPart
from openai.types.webhooks import (
    DeletedWebhookEndpoint,
    WebhookCreateParams,
    WebhookEndpoint,
    WebhookEndpointTestResult,
    WebhookEndpointWithSecret,
    WebhookEventTypeList,
    WebhookListParams,
    WebhookRotateSecretParams,
    WebhookTestParams,
    WebhookUpdateParams,
)

from tests.api.openai.conformance import HONOURED, KEPT, REFUSED, Family

_EXPIRES = (HONOURED, "`seconds` 3600 to 2592000 after `created_at`")
_PURPOSES = "`batch`, `fine-tune`, `assistants`, `vision`, `user_data`, `evals`"
_AFTER = (HONOURED, "the last id of the page before")
_NOTHING_TO_SAY = "there is nothing that it could say: a file is listed once it is whole"
FILES = Family(
    "files",
    {"": (FileCreateParams,), "list": (FileListParams,)},
    (FileObject, FileDeleted),
    fields={
        "file": (HONOURED, "streamed; at most `PENSTOCK_MAX_FILE_BYTES`"),
        "purpose": (HONOURED, _PURPOSES),
        "expires_after": _EXPIRES,
        "list.after": _AFTER,
        "list.limit": (HONOURED, "1 to 10000"),
        "list.order": (HONOURED, "`asc`, `desc`"),
        "list.purpose": (HONOURED, ""),
    },
    beyond={_NOTHING_TO_SAY: ("FileObject.status_details",)},
)
UPLOADS = Family(
    "uploads",
    {
        "": (UploadCreateParams,),
        "parts": (PartCreateParams,),
        "complete": (UploadCompleteParams,),
    },
    (Upload, UploadPart),
    fields={
        "bytes": (HONOURED, "what the parts must add up to"),
        "filename": (HONOURED, ""),
        "mime_type": (KEPT, "with the upload; content is served as bytes"),
        "purpose": (HONOURED, _PURPOSES),
        "expires_after": _EXPIRES,
        "parts.data": (HONOURED, "at most 64 MiB a part"),
        "complete.part_ids": (HONOURED, "in the order of their bytes"),
        "complete.md5": (HONOURED, "compared with what arrived"),
    },
    beyond={_NOTHING_TO_SAY: ("Upload.file.status_details",)},
)
BATCHES = Family(
    "batches",
    {"": (BatchCreateParams,), "list": (batch_list_params.BatchListParams,)},
    (Batch,),
    fields={
        "completion_window": (HONOURED, "`24h`, or any number of `s`, `m`, `h`, `d` up to 30 days"),
        "endpoint": (
            HONOURED,
            "`/v1/chat/completions`, `/v1/completions`, `/v1/responses` or `/v1/embeddings`",
        ),
        "input_file_id": (HONOURED, "a file of purpose `batch`"),
        "metadata": (HONOURED, "up to 16 pairs"),
        "output_expires_after": (HONOURED, "of the output and error file"),
        "list.after": _AFTER,
        "list.limit": (HONOURED, "1 to 100"),
    },
)
_SETTINGS = "`n_epochs`, `batch_size`, `learning_rate_multiplier`, `beta`, and ours; `auto` becomes what was chosen"
FINE_TUNING = Family(
    "fine_tuning",
    {
        "": (job_create_params.JobCreateParams,),
        "list": (job_list_params.JobListParams,),
        "events": (job_list_events_params.JobListEventsParams,),
        "checkpoints": (checkpoint_list_params.CheckpointListParams,),
    },
    (FineTuningJob, FineTuningJobEvent, FineTuningJobCheckpoint),
    fields={
        "hyperparameters": (HONOURED, "the old place of the method's"),
        "integrations": (REFUSED, "follow the job by its events or webhooks"),
        "metadata": (KEPT, "up to 16 pairs; a filter of lists"),
        "method": (HONOURED, f"`supervised`, `dpo`: {_SETTINGS}; `reinforcement` is refused"),
        "model": (HONOURED, "a name or alias of the catalog"),
        "seed": (HONOURED, ""),
        "suffix": (HONOURED, "up to 64 letters, digits, dots, dashes and underscores"),
        "training_file": (HONOURED, "a file of purpose `fine-tune`"),
        "validation_file": (HONOURED, "likewise"),
        "list.after": _AFTER,
        "list.limit": (HONOURED, "1 to 100"),
        "list.metadata": (HONOURED, "`metadata[k]=v`; `metadata=null`: jobs without any"),
        "events.after": _AFTER,
        "events.limit": (HONOURED, "1 to 1000"),
        "checkpoints.after": _AFTER,
        "checkpoints.limit": (HONOURED, "1 to 100"),
    },
    beyond={
        "reports to Weights & Biases": (
            "integrations",
            "FineTuningJob.integrations",
            "FineTuningJob.integrations.*",
        ),
        "reinforcement needs graders": ("*.reinforcement", "*.reinforcement.*"),
    },
)
WEBHOOK_ENDPOINTS = Family(
    "webhook_endpoints",
    {
        "": (WebhookCreateParams,),
        "update": (WebhookUpdateParams,),
        "list": (WebhookListParams,),
        "rotate_secret": (WebhookRotateSecretParams,),
        "test": (WebhookTestParams,),
    },
    (
        WebhookEndpoint,
        WebhookEndpointWithSecret,
        WebhookEndpointTestResult,
        DeletedWebhookEndpoint,
    ),
    fields={
        "name": (HONOURED, ""),
        "url": (HONOURED, "no address of a private network, unless it is allowed"),
        "event_types": (HONOURED, "those of `/v1/webhook_event_types`; others are refused"),
        "update.name": (HONOURED, ""),
        "update.url": (HONOURED, "as above"),
        "update.event_types": (HONOURED, "as above"),
        "list.after": _AFTER,
        "list.limit": (HONOURED, "1 to 100"),
        "rotate_secret.keep_old_secret_active_for_24_hours": (HONOURED, "both sign for a day"),
        "test.event_type": (
            HONOURED,
            "sent at once; an endpoint that does not take it is an error",
        ),
    },
)
WEBHOOK_EVENT_TYPES = Family("webhook_event_types", {}, (WebhookEventTypeList,))
MODELS = Family(
    "models",
    {},
    (Model,),
    beyond={
        "a model is there as long as a worker serves it, and no end is announced": (
            "Model.shutdown_date",
        )
    },
)
