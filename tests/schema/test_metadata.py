
from random import Random
from typing import Any

import pytest

from ksql.schema import catalogue, metadata
from ksql.schema.errors import Cause, InvalidError

KNOWN = catalogue.load()
PODS = KNOWN.by_key("pods")

SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
LABEL_1035 = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
NAME_PART = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
LABEL_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def faults(given: dict[str, Any], old: dict[str, Any] | None = None, key: str = "pods") -> list[Cause]:
    out: list[Cause] = []
    before = None if old is None else {"metadata": {"name": "a", "namespace": "b", **old}}
    metadata.validate_metadata(
        KNOWN.by_key(key), {"metadata": {"name": "a", "namespace": "b", **given}}, before, out
    )
    return out


def wrong(field: str, value: str, words: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {value}: {words}", field)


@pytest.mark.parametrize(
    ("key", "name", "words"),
    [
        ("pods", "A_b", SUBDOMAIN),
        ("pods", "a" * 254, "must be no more than 253 characters"),
        ("namespaces", "a.b", "must not contain dots"),
        ("namespaces", "A", LABEL),
        ("namespaces", "a" * 64, "must be no more than 63 characters"),
        ("services", "1a", LABEL_1035),
        ("roles.rbac.authorization.k8s.io", "a/b", "may not contain '/'"),
        ("roles.rbac.authorization.k8s.io", "..", "may not be '..'"),
        ("cronjobs.batch", "a" * 53, "must be no more than 52 characters"),
    ],
)
def test_names_follow_the_syntax_of_their_kind(key: str, name: str, words: str) -> None:
    assert metadata.name_complaints(KNOWN.by_key(key), name) == (words,)


@pytest.mark.parametrize(
    ("key", "name"),
    [("pods", "a.b-c"), ("roles.rbac.authorization.k8s.io", "system:A b"), ("services", "a-1")],
)
def test_good_names_pass(key: str, name: str) -> None:
    metadata.validate_name(KNOWN.by_key(key), name)


def test_a_bad_name_is_an_invalid_object() -> None:
    with pytest.raises(InvalidError) as caught:
        metadata.validate_name(KNOWN.by_key("services"), "X")
    assert caught.value.message == f'Service "X" is invalid: metadata.name: Invalid value: "X": {LABEL_1035}'


def test_a_name_is_needed_unless_one_is_generated() -> None:
    words = "Required value: name or generateName is required"
    assert faults({"name": ""}) == [Cause("FieldValueRequired", words, "metadata.name")]
    assert faults({"name": "", "generateName": "web-"}) == []
    assert faults({"name": "", "generateName": "Web-"}) == [
        wrong("metadata.generateName", '"Web-"', SUBDOMAIN)
    ]


def test_namespaces_belong_to_namespaced_kinds() -> None:
    assert faults({"namespace": ""}) == [Cause("FieldValueRequired", "Required value", "metadata.namespace")]
    assert faults({}, key="nodes") == [
        Cause("FieldValueForbidden", "Forbidden: not allowed on this type", "metadata.namespace")
    ]


def test_labels_are_checked_key_and_value() -> None:
    assert faults({"labels": {"a b": "c d", "x/y": "", "example.com/ok": "Ok_1"}}) == [
        wrong("metadata.labels", '"a b"', NAME_PART),
        wrong("metadata.labels", '"c d"', LABEL_VALUE),
    ]
    assert faults({"labels": {"/a": ""}}) == [
        wrong("metadata.labels", '"/a"', "prefix part must be non-empty")
    ]
    assert faults({"labels": {"Up/a": ""}}) == [
        wrong("metadata.labels", '"Up/a"', f"prefix part {SUBDOMAIN}")
    ]
    (fault,) = faults({"labels": {"a/b/c": ""}})
    assert fault.message.startswith('Invalid value: "a/b/c": a valid label key must consist of')
    assert fault.message.endswith("with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')")


def test_annotations_are_bounded_together() -> None:
    assert faults({"annotations": {"UPPER.example.com/a": "ü" * 100}}) == []
    words = "Too long: may not be more than 262144 bytes"
    halves = {"a": "ü" * 70000, "b": "x" * 125000}
    assert faults({"annotations": halves}) == [Cause("FieldValueTooLong", words, "metadata.annotations")]


def test_owners_are_named_in_full() -> None:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a", "uid": "u"}
    assert faults({"ownerReferences": [owner]}) == []
    assert faults({"ownerReferences": [{"apiVersion": "", "kind": "", "name": "", "uid": ""}]}) == [
        wrong("metadata.ownerReferences.apiVersion", '""', "version must not be empty"),
        *(
            wrong(f"metadata.ownerReferences.{field}", '""', "must not be empty")
            for field in ("kind", "name", "uid")
        ),
    ]
    (fault,) = faults(
        {"ownerReferences": [{**owner, "controller": True}, {**owner, "controller": True, "name": "b"}]}
    )
    assert "Only one reference can have Controller set to true" in fault.message


def test_finalizers_are_standard_or_qualified() -> None:
    assert faults({"finalizers": ["example.com/a", "orphan"]}) == []
    words = "name is neither a standard finalizer name nor is it fully qualified"
    assert faults({"finalizers": ["a.b/c", "mine"]}) == [wrong("metadata.finalizers[1]", '"mine"', words)]


@pytest.mark.parametrize("field", ["uid", "creationTimestamp", "deletionTimestamp"])
def test_identity_cannot_be_changed(field: str) -> None:
    fault = wrong(f"metadata.{field}", '"y"', "field is immutable")
    # The generic layer tells it, and the kind's own.
    assert faults({field: "y"}, {field: "x"}) == [fault] * 2


def test_an_object_being_deleted_takes_no_new_finalizers() -> None:
    old = {"deletionTimestamp": "t", "finalizers": ["a.b/c"]}
    assert faults({**old, "finalizers": []}, old) == []
    words = "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers "
    assert faults({**old, "finalizers": ["a.b/c", "a.b/d"]}, old) == [
        Cause("FieldValueForbidden", words + '[]string{"a.b/d"}', "metadata.finalizers")
    ] * 2


def test_generated_names_come_from_the_random_numbers_given() -> None:
    first, again = (metadata.generated_name("web-", Random(7)) for _ in range(2))
    assert first == again and first.startswith("web-") and len(first) == 9
    assert metadata.generated_name("web-", Random(8)) != first
    long = metadata.generated_name("a" * 80, Random(1))
    assert len(long) == 63
    assert set(first[4:]) <= set(metadata.SUFFIX_ALPHABET)
