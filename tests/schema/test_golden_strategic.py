"""Strategic merge against what Kubernetes' own library made of the same patches."""

from typing import Any

from ksql.schema import catalogue
from ksql.schema.errors import ApiError
from ksql.schema.patches import strategic
from tests.schema.recorded import vectors

CATALOGUE = catalogue.load()


def outcome(vector: Any) -> Any:
    group, version, kind = vector["gvk"]
    type = CATALOGUE.kind(group, version, kind)
    assert type is not None
    try:
        return strategic.apply(CATALOGUE, type, vector["original"], vector["patch"])
    except ApiError as error:
        # kube-apiserver answers 500 where it does not expect a fault; it is the client's all the same.
        assert error.code in (400, 422)
        return error.message


def test_every_recorded_patch_has_its_result_or_its_refusal() -> None:
    count, wrong = 0, []
    for number, vector in enumerate(vectors("strategic")):
        count += 1
        if outcome(vector) != vector.get("result", vector.get("error")):
            wrong.append(number)
    assert count > 2_000 and not wrong
