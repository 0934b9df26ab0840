"""What leaves the house: no value that a rule names, the same word for the same value, and documents of their kind."""

import base64
import json

import pytest

from ksql.base.documents import encode
from ksql.history.masks import LAST_APPLIED
from ksql.history.redaction import SECRETS, Redaction, RuleError, rule
from tests.log.drafts import draft

PASSWORD = base64.b64encode(b"hunter22").decode()
SECRET = {
    "apiVersion": "v1", "kind": "Secret",
    "metadata": {"name": "s", "annotations": {LAST_APPLIED: json.dumps({"data": {"p": PASSWORD}}), "a": "b"}},
    "data": {"p": PASSWORD, "again": PASSWORD, "other": "eA=="}, "type": "Opaque",
}  # fmt: skip
POD = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
    "spec": {
        "containers": [
            {"name": "a", "env": [{"name": "TOKEN", "value": "t"}, {"name": "PLAIN", "value": "u"}]},
            {"name": "b", "command": ["x"], "ports": [{"containerPort": 80}], "tty": True},
        ],
    },
}  # fmt: skip


def redaction(*rules, key="k"):
    return Redaction([rule(text) for text in rules], key)


def test_no_value_of_a_secret_is_left_and_equal_ones_stay_equal():
    found = redaction(*SECRETS).document(SECRET)
    text = encode(found).decode()
    assert PASSWORD not in text and "hunter22" not in text
    word = base64.b64decode(found["data"]["p"]).decode()
    assert word.startswith("redacted, 8 bytes, ")
    assert found["data"]["p"] == found["data"]["again"] != found["data"]["other"]
    assert found["metadata"]["annotations"]["a"] == "b" and found["type"] == "Opaque"
    assert SECRET["data"]["p"] == PASSWORD, "documents are never changed in place"


def test_another_bundle_has_other_tags():
    one, other = (redaction(*SECRETS, key=key).document(SECRET)["data"]["p"] for key in "ab")
    assert one != other


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("Pod:spec.containers[*].env[*].value", lambda pod: [e["value"] for e in pod["spec"]["containers"][0]["env"]]),
        ("pod:spec.containers[a].env[TOKEN].value", lambda pod: [pod["spec"]["containers"][0]["env"][0]["value"]]),
        ("Pod:/spec/containers/1/command", lambda pod: pod["spec"]["containers"][1]["command"]),
    ],
)
def test_a_rule_takes_out_what_it_names(text, field):
    found = redaction(text).document(POD)
    assert all(value.startswith("redacted, 1 byte, ") for value in field(found))


def test_what_a_rule_does_not_name_is_the_same_object():
    assert redaction("Pod:spec.nodeName").document(POD) is POD
    assert redaction(*SECRETS).document(POD) is POD
    found = redaction("Pod:spec.containers[a].env[TOKEN].value").document(POD)
    assert found["spec"]["containers"][0]["env"][1]["value"] == "u"
    assert found["spec"]["containers"][1] is POD["spec"]["containers"][1]


def test_values_keep_their_types():
    found = redaction("Pod:spec.containers[b].ports", "Pod:spec.containers[b].tty").document(POD)
    assert found["spec"]["containers"][1]["ports"] == [{"containerPort": 0}]
    assert found["spec"]["containers"][1]["tty"] is False


def test_events_of_other_kinds_are_not_even_parsed():
    class Event:
        payload = b'{"apiVersion":"v1","kind":"Pod","metadata":{}}'

        @property
        def document(self):
            raise AssertionError("parsed")

    event = Event()
    assert redaction(*SECRETS).event(event) is event
    assert draft("a").document["kind"] == "ConfigMap"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data.password", '"data.password" is no rule: write KIND:PATH, such as ConfigMap:data.password'),
        (":data", "is no rule"),
        ("Secret:", "is no rule"),
        ("Secret:a..b", "is no field path"),
        ("Pod:metadata.name", "would take out what tells objects apart"),
        ("Pod:metadata", "would take out what tells objects apart"),
        ("Pod:kind", "would take out what tells objects apart"),
    ],
)
def test_what_is_no_rule_is_said(text, message):
    with pytest.raises(RuleError) as refused:
        rule(text)
    assert message in str(refused.value)
