"""Lists are aligned by the keys that the kind's schema states; where it states none, by what people go by."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ksql.base.documents import Document
from ksql.history import diff, listkeys
from ksql.schema import catalogue

CATALOGUE = catalogue.load()


def pod(spec: Document, status: Document | None = None) -> Document:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec, "status": status or {}}


def shown(old: Document, new: Document, resource: str = "pods") -> list[str]:
    changes = diff.between(old, new, resource, listkeys.of(CATALOGUE, new))
    return [diff.line(change) for change in changes]


def containers(**fields: Any) -> Document:
    return {"containers": [{"name": "web", **fields}]}


def test_ports_go_by_number_and_by_protocol_too_where_numbers_repeat() -> None:
    tcp, udp = {"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}
    http = {"containerPort": 80, "protocol": "TCP"}
    assert shown(pod(containers(ports=[http])), pod(containers(ports=[{**http, "name": "http"}]))) == [
        "+ spec.containers[web].ports[80].name: http"
    ]
    assert shown(pod(containers(ports=[tcp, udp])), pod(containers(ports=[{**udp, "name": "dns"}, tcp]))) == [
        "+ spec.containers[web].ports[53:UDP].name: dns",
        "↕ spec.containers[web].ports: 53:TCP, 53:UDP → 53:UDP, 53:TCP",
    ]


def test_a_services_ports_go_by_port() -> None:
    def service(*ports: Document) -> Document:
        return {"apiVersion": "v1", "kind": "Service", "spec": {"ports": list(ports)}}

    http = {"name": "http", "port": 80, "targetPort": 8080}
    renamed = {**http, "name": "web"}
    assert shown(service(http), service(renamed), "services") == ["~ spec.ports[80].name: http → web"]


def test_environment_goes_by_name_wherever_it_stands() -> None:
    a, b = {"name": "A", "value": "1"}, {"name": "B", "value": "2"}
    assert shown(pod(containers(env=[a, b])), pod(containers(env=[a, {"name": "B", "value": "3"}]))) == [
        "~ spec.containers[web].env[B].value: 2 → 3"
    ]


def test_tolerations_are_atomic_to_the_schema_and_go_by_key_and_effect_to_people() -> None:
    gone, slow = ({"key": "k", "effect": effect} for effect in ("NoExecute", "NoSchedule"))
    old, new = pod({"tolerations": [gone, slow]}), pod({"tolerations": [{**gone, "operator": "Exists"}, slow]})
    assert shown(old, new) == ["+ spec.tolerations[k:NoExecute].operator: Exists"]


@pytest.mark.parametrize(
    ("api_version", "kind"), [("v1", "Pod"), ("apps/v1", "Deployment"), ("batch/v1", "Job"), ("v1", "Node")]
)
def test_conditions_go_by_type_in_every_kind(api_version: str, kind: str) -> None:
    def having(*conditions: tuple[str, str]) -> Document:
        found = [{"type": type, "status": status} for type, status in conditions]
        return {"apiVersion": api_version, "kind": kind, "status": {"conditions": found}}

    old, new = having(("Ready", "False"), ("Odd", "True")), having(("Ready", "True"), ("Odd", "True"))
    assert shown(old, new) == ["~ status.conditions[Ready].status: False → True"]


def test_a_set_goes_by_its_members_under_any_name() -> None:
    def slice_of(*addresses: str) -> Document:
        endpoint = {"targetRef": {"uid": "u"}, "addresses": list(addresses)}
        return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "endpoints": [endpoint]}

    old, new = slice_of("10.0.0.1", "10.0.0.2"), slice_of("10.0.0.2")
    assert shown(old, new, "endpointslices.discovery.k8s.io") == ["- endpoints[u].addresses[10.0.0.1]: 10.0.0.1"]


def test_a_template_inside_another_kind_has_the_same_keys() -> None:
    keys = listkeys.of(CATALOGUE, {"apiVersion": "apps/v1", "kind": "Deployment"})
    assert keys is not None
    inside = ("spec", "template", "spec", "containers")
    assert keys((*inside, "ports")) == (("containerPort",), ("containerPort", "protocol"))
    assert keys(inside) == (("name",),)
    assert keys((*inside, "args")) == ()
    assert keys(("spec", "nothing", "ports")) == ()
    assert keys(("metadata", "finalizers")) == ((),)


def test_a_kind_without_a_schema_has_no_keys() -> None:
    assert listkeys.of(CATALOGUE, {"apiVersion": "example.org/v1", "kind": "Widget"}) is None
    assert listkeys.of(CATALOGUE, {"spec": {}}) is None
    assert listkeys.of(CATALOGUE, None) is None


# A custom resource's schema is written out in place, with no merge keys.
CUSTOM = listkeys.keys_in(
    {
        "properties": {
            "routes": {
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["host", "path"],
                "items": {"properties": {"hops": {"$ref": "#/hops"}}},
            },
            "tags": {"x-kubernetes-list-type": "set"},
            "steps": {"x-kubernetes-list-type": "atomic"},
            "pools": {"additionalProperties": {"x-kubernetes-list-map-keys": ["id"]}},
        }
    },
    {"#/hops": {"x-kubernetes-list-map-keys": ["id"]}}.__getitem__,
)


def test_lists_of_custom_resources_go_by_their_own_keys() -> None:
    old = {"routes": [{"host": "a", "path": "/", "hops": [{"id": 1, "name": "x"}]}], "tags": ["b", "c"]}
    new = {"routes": [{"host": "a", "path": "/", "hops": [{"id": 1, "name": "y"}]}], "tags": ["c"]}
    changes = [diff.line(change) for change in diff.compare(old, new, CUSTOM)]
    assert changes == ["~ routes[a:/].hops[1].name: x → y", "- tags[b]: b"]
    (change,) = diff.compare({"pools": {"p": [{"id": 1}]}}, {"pools": {"p": [{"id": 1, "n": 2}]}}, CUSTOM)
    assert diff.dotted(change.path) == "pools.p[1].n"


def test_where_the_schemas_keys_do_not_tell_items_apart_positions_do() -> None:
    old = {"routes": [{"host": "a", "path": "/", "name": "x"}, {"host": "a", "path": "/", "name": "y"}]}
    new = {"routes": [old["routes"][0], {**old["routes"][1], "name": "z"}]}
    assert [diff.dotted(change.path) for change in diff.compare(old, new, CUSTOM)] == ["routes[1].name"]


ITEMS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "host": st.sampled_from(["a", "b", "a:b"]),
            "path": st.sampled_from(["/", "b", ""]),
            "hops": st.lists(st.fixed_dictionaries({"id": st.integers(0, 2)}), max_size=3),
        },
    )
    | st.sampled_from(["a", "b"]),
    max_size=4,
)
DOCUMENTS = st.dictionaries(st.sampled_from(["routes", "tags", "steps"]), ITEMS)


@given(DOCUMENTS, DOCUMENTS)
@settings(max_examples=300, deadline=None)
def test_a_difference_by_the_schemas_keys_is_as_exact_as_one_without(a: Document, b: Document) -> None:
    assert diff.apply(a, list(diff.compare(a, b, CUSTOM))) == b
