"""The server's own OpenAPI documents believed word for word: what schemathesis makes of them never meets a 500.

Each operation of each group is asked with a few requests that fit its description and a few that do not.
"""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core import NotSet
from schemathesis.generation import GenerationMode

from ksql.schema import catalogue as catalogues
from tests.properties.test_serve import Loop, check

GROUPS = sorted({(found.group, found.version) for found in catalogues.load("1.35").types})
EXAMPLES = 2


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def ask(loop: Loop, case: Any) -> None:
    query = urlencode(dict(case.query or {}), doseq=True, errors="replace").encode()
    given = (case.headers or {}).items()
    headers = [(name.lower().encode(), str(value).encode("utf-8", "replace")) for name, value in given]
    if case.media_type:
        headers.append((b"content-type", case.media_type.encode()))
    body = b"" if isinstance(case.body, NotSet) else case.body
    if not isinstance(body, bytes):
        body = json.dumps(body).encode("utf-8", "surrogatepass")
    check(loop.ask(case.method, case.formatted_path, query, headers, body))


@pytest.mark.parametrize(("group", "version"), GROUPS, ids=[f"{group}/{version}" for group, version in GROUPS])
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fitting", "unfit"])
def test_every_operation_answers_what_its_description_allows(
    loop: Loop, group: str, version: str, mode: GenerationMode
) -> None:
    where = f"apis/{group}/{version}" if group else f"api/{version}"
    code, _, data = loop.ask("GET", f"/openapi/v3/{where}", b"", [], b"")
    assert code == 200
    document = schemathesis.openapi.from_dict(json.loads(data))
    asked = 0
    for found in document.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate], derandomize=True,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(operation.as_strategy(generation_mode=mode))
        def one(case: Any) -> None:
            ask(loop, case)

        try:
            one()
        except schemathesis.errors.SchemathesisError:
            continue  # nothing unfit can be said to an operation that takes nothing
        asked += 1
    assert asked
