"""The family of evals: what their clients may send, what becomes of it, and what they read."""

from openai.types import (
    EvalCreateParams,
    EvalCreateResponse,
    EvalDeleteResponse,
    EvalListParams,
    EvalUpdateParams,
)
from openai.types.evals import (
    RunCreateParams,
    RunCreateResponse,
    RunDeleteResponse,
    RunListParams,
)
from openai.types.evals.runs import OutputItemListResponse, output_item_list_params

from tests.api.openai.conformance import HONOURED, KEPT, Family

_AFTER = (HONOURED, "the last id of the page before")
_LIMIT = (HONOURED, "1 to 100")
_ORDER = (HONOURED, "`asc`, `desc`")
_PAIRS = (KEPT, "up to 16 pairs")
_CRITERIA = "`string_check`, `text_similarity` (`fuzzy_match`, `gleu`, `rouge_*`), and ours, `penstock.audit`"
EVALS = Family(
    "evals",
    {
        "": (EvalCreateParams,),
        "update": (EvalUpdateParams,),
        "list": (EvalListParams,),
        "run": (RunCreateParams,),
        "runs": (RunListParams,),
        "items": (output_item_list_params.OutputItemListParams,),
    },
    (
        EvalCreateResponse, EvalDeleteResponse, RunCreateResponse, RunDeleteResponse,
        OutputItemListResponse,
    ),
    fields={
        "data_source_config": (HONOURED, "`custom`, and ours, `penstock.audit`"),
        "testing_criteria": (HONOURED, f"{_CRITERIA}; graders that are models or code are refused"),
        "metadata": _PAIRS,
        "name": (KEPT, ""),
        "update.metadata": _PAIRS,
        "update.name": (KEPT, ""),
        "list.after": _AFTER,
        "list.limit": _LIMIT,
        "list.order": _ORDER,
        "list.order_by": (HONOURED, "`created_at`, `updated_at`"),
        "run.data_source": (
            HONOURED,
            "`completions` and `responses` over `file_id` or `file_content`, and ours, `penstock.audit`",
        ),
        "run.metadata": (KEPT, "as the job's metadata"),
        "run.name": (KEPT, ""),
        "runs.after": _AFTER,
        "runs.limit": _LIMIT,
        "runs.order": _ORDER,
        "runs.status": (HONOURED, ""),
        "items.eval_id": (HONOURED, "in the path"),
        "items.after": _AFTER,
        "items.limit": _LIMIT,
        "items.order": _ORDER,
        "items.status": (HONOURED, "`pass`, `fail`"),
    },
    beyond={
        "answers are sampled here, not from logs, stored ones or other texts": (
            "*.source.created_after", "*.source.created_before", "*.source.instructions_search",
            "*.source.metadata", "*.source.model", "*.source.reasoning_effort",
            "*.source.temperature", "*.source.tools", "*.source.top_p", "*.source.users",
            "*.source.limit", "*.source.content.sample", "*.data_source_config.metadata",
        ),
        "graders that are models or code": (
            "*.testing_criteria.model", "*.testing_criteria.labels", "*.testing_criteria.source",
            "*.testing_criteria.passing_labels", "*.testing_criteria.image_tag",
            "*.testing_criteria.range", "*.testing_criteria.sampling_params*",
            "*.testing_criteria.input.*", "*.results.sample",
        ),
        "answers are text of one model": (
            "*.sampling_params.tools*", "*.sampling_params.text*",
            "*.sampling_params.response_format*", "*.sampling_params.reasoning_effort",
            "*.input_messages.item_reference", "*.template.content.image_url",
            "*.template.content.detail", "*.template.content.input_audio*",
            "*.template.phase", "*.template.content.prompt_cache_breakpoint*", "*.template.content.file*",
        ),
        "an answer that is not there fails its run": ("*.sample.error", "*.sample.error.*"),
    },
)  # fmt: skip
