"""What /v1/evals takes: each field honoured, recorded, or refused by its name; and the audit that a run asks for."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from core.audits.splitting import Split
from core.audits.suites.graded.graders import StringCheck, TextSimilarity
from core.audits.wishes import NO_POLICY, POLICY, PRODUCTION, Render
from core.errors import InvalidInput, NotFound
from core.jobs.kinds import AuditJob, MetadataKey, MetadataValue
from core.openai import shapes
from core.openai.shapes import Refused

AUDIT = "penstock.audit"
GRADED = "graded"
MAX_INLINE = 10_000
_GRADERS = "string_check, text_similarity, or penstock.audit for a suite of audits"
# What the client may say here and we have not, with what to do instead.
_NO_MODELS = f"a model's opinion of an answer is no evidence here; use {_GRADERS}"
_WITHOUT: dict[str, str] = {
    "label_model": _NO_MODELS,
    "score_model": _NO_MODELS,
    "python": f"code of clients is not run here; use {_GRADERS}",
    "logs": "answers are not sampled from logs; use custom, and send the items",
    "stored_completions": "answers are not sampled from stored ones; send the items as file_id or file_content",
    "jsonl": "texts of others are not graded; use completions, and the model here writes them",
    "item_reference": "write the messages as a template",
}


def _refusing(value: Any) -> Any:
    """Refuse by name what OpenAI has and we do not, before a union says that it fits none of its members."""
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(kind, str) and kind in _WITHOUT:
        raise ValueError(f"type {kind} is not supported here: {_WITHOUT[kind]}")
    return value


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CustomConfig(_Shape):
    type: Literal["custom"]
    item_schema: dict[str, Any]
    include_sample_schema: bool = False


class AuditConfig(_Shape):
    """Ours: for evals whose criteria bring their own items."""

    type: Literal["penstock.audit"]


class AuditCriterion(_Shape):
    """Ours: one suite of audits, as in POST /v1/audits."""

    type: Literal["penstock.audit"]
    name: str = Field(min_length=1, max_length=128)
    suite: str = Field(min_length=1, max_length=64)
    file: str | None = Field(None, max_length=64)
    files: dict[str, str] | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    items: int | None = None
    split: Split = "all"


Config = Annotated[
    CustomConfig | AuditConfig, Field(discriminator="type"), BeforeValidator(_refusing)
]
Criterion = Annotated[
    StringCheck | TextSimilarity | AuditCriterion,
    Field(discriminator="type"),
    BeforeValidator(_refusing),
]
Name = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)]


class NewEval(_Shape):
    data_source_config: Config
    testing_criteria: list[Criterion] = Field(min_length=1, max_length=16)
    name: Name | None = None
    metadata: Metadata | None = None

    @model_validator(mode="after")
    def _whole(self) -> "NewEval":
        names = [one.name for one in self.testing_criteria]
        suites = [one.suite for one in self.testing_criteria if isinstance(one, AuditCriterion)]
        for found in (names, suites):
            if twice := next((one for one in found if found.count(one) > 1), None):
                raise ValueError(f"testing_criteria: {twice} is there twice")
        if self.graders and isinstance(self.data_source_config, AuditConfig):
            raise ValueError("data_source_config: graders need items; its type must be custom")
        return self

    @property
    def graders(self) -> list[StringCheck | TextSimilarity]:
        return [one for one in self.testing_criteria if not isinstance(one, AuditCriterion)]


class EvalChange(_Shape):
    name: Name | None = None
    metadata: Metadata | None = None


class Entry(_Shape):
    item: dict[str, Any]
    sample: Annotated[Any, Refused("The model here writes the sample.")] = None


class FileContent(_Shape):
    type: Literal["file_content"]
    content: list[Entry] = Field(min_length=1, max_length=MAX_INLINE)


class FileId(_Shape):
    type: Literal["file_id"]
    id: str = Field(max_length=64)


Source = Annotated[FileContent | FileId, Field(discriminator="type"), BeforeValidator(_refusing)]


class Text(_Shape):
    type: Literal["input_text", "output_text"]
    text: str


class TemplateMessage(_Shape):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | Text
    type: Literal["message"] = "message"

    def as_option(self) -> dict[str, str]:
        role = "system" if self.role == "developer" else self.role
        return {
            "role": role,
            "content": self.content if isinstance(self.content, str) else self.content.text,
        }


class Template(_Shape):
    type: Literal["template"]
    template: list[TemplateMessage] = Field(min_length=1, max_length=32)


_PLAIN = "Answers are text."


class Sampling(_Shape):
    """Without a temperature the model answers greedily: the same again each time."""

    max_completion_tokens: int | None = None
    seed: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    reasoning_effort: Annotated[Any, Refused("", ("none",))] = None
    response_format: Annotated[Any, Refused(_PLAIN, ({"type": "text"},))] = None
    text: Annotated[Any, Refused(_PLAIN, ({"format": {"type": "text"}},))] = None
    tools: Annotated[Any, Refused(_PLAIN, ([],))] = None


class _Audited(_Shape):
    """Ours, of an audit: see POST /v1/audits."""

    policy: str | None = Field(None, pattern=POLICY)
    baseline: str | None = Field(None, max_length=256)
    render: Render = "auto"
    confidence: float | None = None


class SampledSource(_Audited):
    type: Literal["completions", "responses"]
    source: Source
    input_messages: Annotated[Template, BeforeValidator(_refusing)] | None = None
    model: str | None = Field(None, max_length=256)
    sampling_params: Sampling | None = None


class AuditSource(_Audited):
    type: Literal["penstock.audit"]
    model: str | None = Field(None, max_length=256)
    seed: int | None = None
    imports: list[str] = Field(default_factory=list)


class NewRunAsked(_Shape):
    data_source: Annotated[
        SampledSource | AuditSource, Field(discriminator="type"), BeforeValidator(_refusing)
    ]
    name: Name | None = None
    metadata: Metadata | None = None
    idempotency_key: str | None = Field(None, description="the Idempotency-Key header, in the body")

    @property
    def inline(self) -> list[dict[str, Any]] | None:
        """Items that came with the request: they become a file of the tenant's."""
        given = self.data_source
        if isinstance(given, SampledSource) and isinstance(given.source, FileContent):
            return [{"item": entry.item} for entry in given.source.content]
        return None

    def spec(self, criteria: NewEval, file: str | None) -> AuditJob:
        """The audit that is asked for. `file`: of the inline items. Raises InvalidInput naming the field."""
        given = self.data_source
        suites = [
            one.model_dump(exclude={"type", "name"}, exclude_unset=True)
            for one in criteria.testing_criteria
            if isinstance(one, AuditCriterion)
        ]
        judged = bool(suites)
        if criteria.graders:
            suites.append(self._graded(criteria, file))
        elif isinstance(given, SampledSource):
            raise InvalidInput(
                "data_source.type: no grader of this eval takes items; use penstock.audit",
                param="data_source.type",
            )
        sampled = (isinstance(given, SampledSource) and given.sampling_params) or Sampling()
        fields: dict[str, Any] = {
            "kind": "audit", "model": given.model or "", "suites": suites,
            # Graders alone are held against no policy: they would be evidence for nothing.
            "policy": given.policy if judged or given.policy else NO_POLICY,
            "render": given.render, "confidence": given.confidence,
            "seed": given.seed if isinstance(given, AuditSource) else sampled.seed,
            "imports": given.imports if isinstance(given, AuditSource) else None,
            "metadata": self.metadata, "idempotency_key": self.idempotency_key,
        }  # fmt: skip
        against = given.baseline
        if against is None and judged and "baseline" not in given.model_fields_set:
            against = PRODUCTION
        made = shapes.sound(AuditJob, fields, _NAMES)
        # None means something here: held against nothing.
        return made.model_copy(update={"baseline": against})

    def _graded(self, criteria: NewEval, file: str | None) -> dict[str, Any]:
        given = self.data_source
        if not isinstance(given, SampledSource):
            raise InvalidInput(
                "data_source.type: graders need items; use completions, with a source",
                param="data_source.type",
            )
        if given.input_messages is None:
            raise InvalidInput(
                "data_source.input_messages: say what the model is to be asked, as a template",
                param="data_source.input_messages",
            )
        sampled = (given.sampling_params or Sampling()).model_dump(exclude_none=True)
        names = {
            "max_completion_tokens": "max_tokens",
            "temperature": "temperature",
            "top_p": "top_p",
        }
        options = {ours: sampled[theirs] for theirs, ours in names.items() if theirs in sampled}
        options |= {
            "messages": [message.as_option() for message in given.input_messages.template],
            "graders": [grader.model_dump() for grader in criteria.graders],
        }
        of = given.source.id if isinstance(given.source, FileId) else file
        return {"suite": GRADED, "file": of, "options": options}


_NAMES = {
    "model": "data_source.model", "suites": "testing_criteria", "policy": "data_source.policy",
    "seed": "data_source.sampling_params.seed", "confidence": "data_source.confidence",
    "imports": "data_source.imports",
}  # fmt: skip


def criteria(of: NewEval) -> list[dict[str, Any]]:
    """What each criterion is in the audit: its suite, and of a grader its name there."""
    return [
        {"name": one.name, "type": one.type, "suite": one.suite, "grader": None}
        if isinstance(one, AuditCriterion)
        else {"name": one.name, "type": one.type, "suite": GRADED, "grader": one.name}
        for one in of.testing_criteria
    ]


def refused(
    error: InvalidInput | NotFound, spec: AuditJob, of: list[dict[str, Any]]
) -> InvalidInput | NotFound:
    """A complaint about the audit, naming the field as the client of an eval knows it."""
    first, _, rest = (error.param or "").partition(".")
    number, _, rest = rest.partition(".")
    param = _NAMES.get(first, first) or None
    if first == "suites" and number.isdigit() and int(number) < len(spec.suites):
        name = spec.suites[int(number)].suite
        at = next(n for n, one in enumerate(of) if one["suite"] == name)
        param = f"testing_criteria.{at}.{rest}"
        if name == GRADED:
            param = "data_source.source" if rest.startswith("file") else "data_source"
    message = error.message.removeprefix(f"{error.param}: ")
    return type(error)(f"{param}: {message}" if param else message, param=param, code=error.code)
