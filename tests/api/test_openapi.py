"""The API and its own description agree: schemathesis asks every route, well and badly, and compares."""

from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import CheckFunction, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from schemathesis.specs.openapi.schemas import OpenApiSchema

from core.ids import new_id
from tests.rig import Rig

# Not every rule fits into a schema (which models there are, what the context holds), so well-formed
# input may be refused; it may not be answered with an error of ours, or in another shape than described.
# Of each kind for each route; together about a minute.
EXAMPLES = 15


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def session_key(rig: Rig) -> str:
    return await rig.key(new_id("t"))


@pytest.fixture(scope="session")
def described(rig: Rig, session_key: str) -> OpenApiSchema:
    headers = {"authorization": f"Bearer {session_key}"}
    schema = schemathesis.openapi.from_url(f"{rig.base_url}/openapi.json", headers=headers)

    @schema.auth()
    class Key:
        """Told apart from other headers, so that requests without it are tried too."""

        def get(self, _: schemathesis.Case[Any], __: schemathesis.AuthContext) -> str:
            return session_key

        def set(self, case: schemathesis.Case[Any], data: str, _: schemathesis.AuthContext) -> None:
            case.headers["Authorization"] = f"Bearer {data}"

    return schema


def test_every_answer_is_as_described(described: OpenApiSchema, subtests: pytest.Subtests) -> None:
    statuses: Counter[int] = Counter()
    for found in described.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: schemathesis.Case[Any]) -> None:
                answer = case.call(timeout=60)
                except_for: list[CheckFunction] = [positive_data_acceptance]
                if answer.status_code == 413:
                    # Schemathesis does not count it as a refusal of wrong data.
                    except_for.append(negative_data_rejection)
                case.validate_response(answer, excluded_checks=except_for)
                statuses[answer.status_code] += 1

            with subtests.test(f"{mode.value} {operation.label}"), suppress(Unsatisfiable):
                # A route without parameters cannot be asked badly.
                ask()
    print(f"schemathesis: {statuses.total()} requests answered {dict(sorted(statuses.items()))}")
    assert statuses[202], "no job was accepted: nothing behind the door was tried"
