"""The spec union and what each kind says of itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.config import Settings
from core.errors import InvalidInput
from core.jobs import inference, kinds
from core.jobs.kinds import InferenceJob, window_s

MINE = {"kind": "inference", "prompt": "x"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("90s", 90),
        ("5m", 300),
        ("24h", 86400),
        ("30d", 30 * 86400),
        ("2592000s", 2592000),
    ],
)
def test_a_window_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert window_s(text) == seconds
    assert InferenceJob.model_validate(MINE | {"completion_window": text})


@pytest.mark.parametrize(
    "text",
    ["", "s", "0s", "01s", "-1s", "1.5h", "1 h", "1w", "24H", "1h1m", "٣s", "99999999s", "31d"],
)
def test_any_other_window_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        InferenceJob.model_validate(MINE | {"completion_window": text})


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_every_kind_has_limits_a_heartbeat_inside_its_lease_and_a_partial(kind: str) -> None:
    limits = kinds.limits(kind, Settings(_env_file=None))
    assert 0 < limits.heartbeat_s * 2 < limits.lease_s
    assert kinds.partial(kind, None) is None
    assert kinds.join(kind, None, []) is not None


def test_an_unknown_kind_is_a_mistake_of_ours() -> None:
    settings = Settings(_env_file=None)
    for ask in (
        lambda: kinds.limits("tea", settings),
        lambda: kinds.partial("tea", None),
        lambda: kinds.join("tea", None, []),
    ):
        with pytest.raises(ValueError, match="tea"):
            ask()


def test_a_queue_is_named_by_kind_class_and_model() -> None:
    assert kinds.queue_name("inference", "batch", "rill") == "inference.batch.rill"
    assert set(kinds.RANKS) == {"interactive", "batch"}


def test_a_prompt_with_its_answer_must_fit_the_context() -> None:
    inference.check_length(90, 10, 100)
    with pytest.raises(InvalidInput) as answer:
        inference.check_length(91, 10, 100)
    assert answer.value.param == "max_tokens"
    assert "at most 9" in answer.value.message
    with pytest.raises(InvalidInput) as prompt:
        inference.check_length(100, 1, 100)
    assert prompt.value.param == "prompt"


_SAID = st.lists(
    st.fixed_dictionaries(
        {"text": st.text(max_size=5), "tokens": st.lists(st.integers(0, 9), max_size=4)}
    ),
    max_size=8,
)


@given(said=_SAID, cut=st.integers(0, 8))
def test_progress_joined_in_parts_is_progress_joined_at_once(
    said: list[dict[str, object]], cut: int
) -> None:
    whole = kinds.join("inference", None, said)
    assert kinds.join("inference", kinds.join("inference", None, said[:cut]), said[cut:]) == whole
    assert whole["text"] == "".join(str(part["text"]) for part in said)
    # The token ids stay inside.
    assert kinds.partial("inference", whole) == {"text": whole["text"]}


def test_the_finish_of_a_part_is_kept() -> None:
    whole = kinds.join("inference", {"text": "a", "tokens": [1]}, [{"text": "b", "finish": "stop"}])
    assert whole == {"text": "ab", "tokens": [1], "finish": "stop"}
