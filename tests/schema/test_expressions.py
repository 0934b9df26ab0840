# ruff: noqa: E501 -- messages are quoted whole, one case a line
"""Expressions inside built-in kinds are compiled when they are written, over what their place declares."""

import pytest

from ksql.schema.cel import expressions
from ksql.schema.errors import Cause


def said(text: str, names: expressions.Declared, *kinds: str) -> list[str]:
    out: list[Cause] = []
    expressions.check(text, "at", names, out, kinds or ("BOOL",))
    return [cause.message.partition(": ")[2].partition(": ")[2].partition("\n")[0] for cause in out]


PLAIN = expressions.declared()


@pytest.mark.parametrize(
    "text",
    [
        "object.spec.replicas < 5",
        "request.operation == 'CREATE' && 'devs' in request.userInfo.groups",
        "!has(oldObject.metadata.labels) || object.metadata.labels.all(key, key != 'a')",
        "authorizer.group('').resource('pods').check('get').allowed()",
        "namespaceObject.metadata.name.startsWith('kube-')",
    ],
)
def test_conditions_speak_of_objects_and_the_request(text: str) -> None:
    assert said(text, PLAIN) == []


@pytest.mark.parametrize(
    ("text", "names", "words"),
    [
        ("z", PLAIN, "compilation failed: ERROR: <input>:1:1: undeclared reference to 'z' (in container '')"),
        ("params.a == 1", PLAIN, "compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')"),
        ("variables.r", expressions.declared(variables=["s"]), "compilation failed: ERROR: <input>:1:10: undefined field 'r'"),
        ("request.verb == 'x'", PLAIN, "compilation failed: ERROR: <input>:1:8: undefined field 'verb'"),
        ("'text'", PLAIN, "must evaluate to bool"),
        ("device.driver", expressions.DEVICE, "must evaluate to bool"),
    ],
)  # fmt: skip
def test_what_is_not_declared_or_is_no_condition_is_refused(
    text: str, names: expressions.Declared, words: str
) -> None:
    assert said(text, names) == [words]


def test_a_device_is_chosen_by_its_properties() -> None:
    text = "device.driver == 'd.example' && device.attributes['d.example'].model == 'a1'"
    assert said(text, expressions.DEVICE) == []


def test_some_places_want_texts() -> None:
    assert said("'a' + string(object.metadata.name)", PLAIN, "STRING") == []
    assert said("1", PLAIN, "STRING", "NULL") == ["must evaluate to one of [string null_type]"]
    assert said("params.a", expressions.declared(has_params=True), "STRING") == []
