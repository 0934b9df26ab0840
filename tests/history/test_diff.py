"""Differences are aligned by merge keys, exact to apply, masked to show."""

from typing import Any

from ksql.base.documents import Document
from ksql.history import diff
from ksql.history.masks import LAST_APPLIED


def shown(old: Any, new: Any, resource: str = "pods") -> list[str]:
    return [diff.line(change) for change in diff.between(old, new, resource)]


def pod(*containers: Document, **metadata: Any) -> Document:
    return {"kind": "Pod", "metadata": {"name": "a", **metadata}, "spec": {"containers": list(containers)}}


def test_a_container_is_known_by_its_name_wherever_it_stands() -> None:
    old = pod({"name": "web", "image": "nginx:1"}, {"name": "log", "image": "fluent:1"})
    new = pod(
        {"name": "new", "image": "x"},
        {"name": "web", "image": "nginx:2"},
        {"name": "log", "image": "fluent:1"},
    )
    assert shown(old, new) == [
        "~ spec.containers[web].image: nginx:1 → nginx:2",
        '+ spec.containers[new]: {"name":"new","image":"x"}',
        "↕ spec.containers: web, log, new → new, web, log",
    ]


def test_ports_with_one_number_are_told_apart_by_protocol() -> None:
    tcp, udp = {"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}
    old = pod({"name": "dns", "ports": [tcp, udp]})
    new = pod({"name": "dns", "ports": [tcp, {**udp, "name": "dns"}]})
    assert shown(old, new) == ["+ spec.containers[dns].ports[53:UDP].name: dns"]


def test_conditions_are_known_by_type() -> None:
    old = {
        "status": {
            "conditions": [{"type": "Ready", "status": "False"}, {"type": "Initialized", "status": "True"}]
        }
    }
    new = {
        "status": {
            "conditions": [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "True"}]
        }
    }
    assert "~ status.conditions[Ready].status: False → True" in shown(old, new)


def test_finalizers_are_a_set_and_arguments_a_sequence() -> None:
    old = pod({"name": "a", "args": ["-v", "-v"]}, finalizers=["x/y", "z"])
    new = pod({"name": "a", "args": ["-v", "-q"]}, finalizers=["z"])
    assert shown(old, new) == [
        "- metadata.finalizers[x/y]: x/y",
        "~ spec.containers[a].args[1]: -v → -q",
    ]


def test_a_schema_may_say_what_the_keys_are() -> None:
    old, new = {"rows": [{"k": 1, "v": 1}, {"k": 2, "v": 2}]}, {"rows": [{"k": 2, "v": 3}]}
    changes = list(diff.compare(old, new, lambda path: [("k",)] if path == ("rows",) else []))
    assert [diff.dotted(change.path) for change in changes] == ["rows[1]", "rows[2].v"]


def test_odd_keys_stand_in_brackets() -> None:
    old, new = pod(labels={"app.kubernetes.io/name": "a"}), pod(labels={"app.kubernetes.io/name": "b"})
    assert shown(old, new) == ["~ metadata.labels[app.kubernetes.io/name]: a → b"]


def test_managed_fields_and_resource_versions_are_left_out() -> None:
    old = pod(managedFields=[{"manager": "a"}], resourceVersion="1")
    assert shown(old, pod(managedFields=[{"manager": "b"}], resourceVersion="2")) == []


def test_managers_are_told_apart_by_name_where_they_are_asked_for() -> None:
    old = pod(managedFields=[{"manager": "a", "fieldsV1": {"f:spec": {}}}, {"manager": "b"}])
    new = pod(managedFields=[{"manager": "a", "fieldsV1": {"f:spec": {"f:x": {}}}}, {"manager": "c"}])
    changes = diff.between(old, new, "pods", managers=True)
    assert sorted(map(diff.line, changes)) == [
        '+ metadata.managedFields[a].fieldsV1.f:spec.f:x: {}',
        '+ metadata.managedFields[c]: {"manager":"c"}',
        '- metadata.managedFields[b]: {"manager":"b"}',
    ]


def test_true_is_not_one() -> None:
    assert shown({"a": 1}, {"a": True}) == ["~ a: 1 → true"]


def test_an_object_that_was_not_there_is_all_added() -> None:
    assert shown(None, {"kind": "Pod"}) == ["+ kind: Pod"]
    assert shown({"kind": "Pod"}, None) == ["- kind: Pod"]


def secret(**data: str) -> Document:
    return {"kind": "Secret", "metadata": {"name": "s"}, "data": data}


def test_a_changed_secret_tells_its_length_alone() -> None:
    old, new = secret(password="aHVudGVyMg=="), secret(password="Y29ycmVjdGhvcnNl")
    (change,) = diff.between(old, new, "secrets")
    assert diff.line(change) == "~ data.password: changed, 12 bytes"
    assert change.masked
    assert change.old == "masked, 7 bytes"


def test_added_and_removed_secret_values_are_masked_too() -> None:
    assert shown(secret(a="YQ=="), secret(b="YmI="), "secrets") == [
        "- data.a: removed, 1 byte",
        "+ data.b: added, 2 bytes",
    ]


def test_no_part_of_a_secret_shows_when_all_of_it_is_new() -> None:
    document = secret(a="c2VjcmV0")
    document["metadata"]["annotations"] = {LAST_APPLIED: '{"data":{"a":"c2VjcmV0"}}', "team": "red"}
    text = "\n".join(shown(None, document, "secrets"))
    assert "c2VjcmV0" not in text
    assert "red" in text


def test_config_maps_are_not_masked() -> None:
    old = {"kind": "ConfigMap", "data": {"a": "1"}}
    assert shown(old, {"kind": "ConfigMap", "data": {"a": "2"}}, "configmaps") == ["~ data.a: 1 → 2"]
